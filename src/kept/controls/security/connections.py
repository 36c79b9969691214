"""Whether connections are encrypted, measured: each store's own, those of each site, and of the mail that is sent.

What stays on this machine (a file, a socket, a loopback address) can't be read on a network, and is said as such: a
stand-in there says nothing about the real service. Only hosts are asked that the policy or its settings name.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from sqlalchemy import Connection, text

from kept.company import BEHIND_AN_API, Company, settings
from kept.controls.security import sites, tls
from kept.errors import KeptError, TerminalError
from kept.evidence.proof import Measured, Proof, Verdict
from kept.policy.facts import DeclaredStore
from kept.stores.postgresql import PostgreSQLStore
from kept.stores.records import hubspot, stripe
from kept.stores.records.access import Access, read_access
from kept.stores.sql import SQLStore
from kept.stores.sqlite import SQLiteStore

_ADDRESSES: Final = {"hubspot": hubspot.ADDRESS, "stripe": stripe.ADDRESS}
_NETWORK: Final = ("nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "fuse.sshfs", "ceph", "glusterfs")

_PG: Final = text(
    "SELECT s.pid, s.ssl, s.version, host(inet_server_addr()) AS server, (SELECT count(*) FROM pg_stat_activity a"
    " JOIN pg_stat_ssl o USING (pid) WHERE a.datname = current_database() AND NOT o.ssl"
    " AND a.client_addr IS NOT NULL AND NOT a.client_addr <<= '127.0.0.0/8' AND a.client_addr <> '::1') AS open,"
    " (SELECT count(*) FROM pg_stat_activity a JOIN pg_stat_ssl o USING (pid) WHERE a.datname = current_database()"
    " AND o.ssl IS NULL) AS hidden FROM pg_stat_ssl s WHERE s.pid = pg_backend_pid()"
)


def measure(company: Company) -> Iterator[Proof]:
    """A proof for each store, site, and other way out; none for a store that nothing here connects to."""
    company.map  # noqa: B018  whoever doesn't answer is noted when the map is made
    for name, declared in company.policy.stores.items():
        try:
            proof = _store(company, str(name), declared)
        except KeptError as wrong:
            proof = _proof(str(name), "unproven", f"`{name}` could not be asked: {wrong.message}.")
        if proof is not None:
            yield proof
    yield from _others(company)


def unseen(company: Company) -> list[str]:
    """The stores whose connections are made elsewhere: nothing here can look at them."""
    return [str(name) for name, declared in company.policy.stores.items() if declared.sort == "outside"]


def _store(company: Company, name: str, declared: DeclaredStore) -> Proof | None:
    if declared.sort == "browser":
        return _site(name, company.sites.get(name))
    if declared.sort in BEHIND_AN_API:
        return _api(name, access(company, declared))
    if declared.sort == "files":
        files = company.files.get(name)
        if files is None:
            return _proof(
                name, "unproven", f"`{name}` can't be looked at: {company.unreachable.get(name, '')}."
            )
        return _file(name, str(files.folder))
    store = company.stores.get(name)
    if store is None or name in company.unreachable:
        if declared.sort == "outside":
            return None
        return _proof(
            name, "unproven", f"`{name}` can't be asked: {company.unreachable.get(name, 'closed')}."
        )
    if isinstance(store, SQLiteStore):
        return _file(name, str(store.path))
    return _postgresql(name, store) if isinstance(store, PostgreSQLStore) else _mariadb(name, store)


def access(company: Company, declared: DeclaredStore) -> Access:
    """Where a store behind an API is; TerminalError where its setting is missing or can't be read."""
    address = str(declared.address or "")
    if address.startswith("$"):
        setting, address = address[1:], settings(company.directory).get(address[1:], "")
        if not address:
            raise TerminalError(f"the setting {setting} is missing", where=str(declared.name))
    return read_access(str(declared.name), address, _ADDRESSES.get(declared.sort))


@dataclass(frozen=True)
class Ends:
    """A connection to PostgreSQL as this end and the other see it; with a pooler or a tunnel in between these are two.

    `near`: this end leaves from an address of this machine; `local`: the server was reached at one of its own; `seen`:
    its process runs here. `encrypted` and `version` are this end's, `beyond` whether the server's end is encrypted.
    """

    encrypted: bool
    insists: bool
    near: bool
    direct: bool
    beyond: bool
    local: bool
    seen: bool
    version: str | None = None


def _ends(connection: Connection) -> tuple[Ends, int, int]:
    """Both ends, and how many connections of others aren't encrypted, or can't be seen."""
    row = connection.execute(_PG).one()
    driver: Any = connection.connection.driver_connection
    info = driver.info
    ends = Ends(
        encrypted=bool(driver.pgconn.ssl_in_use),
        insists=info.get_parameters().get("sslmode", "prefer") in ("require", "verify-ca", "verify-full"),
        near=info.host.startswith("/") or tls.is_here(info.hostaddr or info.host),
        direct=info.backend_pid == row.pid,
        beyond=bool(row.ssl),
        local=row.server is None or tls.is_here(row.server),
        seen=_runs_here(row.pid),
        version=row.version,
    )
    return ends, row.open, row.hidden


def _runs_here(process: int) -> bool:
    """Whether a server's process is one of this machine's; where nobody can look, it isn't seen."""
    try:
        return (
            Path(f"/proc/{process}/comm").read_text(encoding="ascii").startswith(("postgres", "postmaster"))
        )
    except (OSError, ValueError):
        return False


def judged(name: str, ends: Ends) -> tuple[Verdict, str]:
    """What the two ends of a connection show, as a sentence."""
    if not ends.encrypted and not ends.near:
        return (
            "broken",
            f"The connection to `{name}` goes over a network and isn't encrypted: add sslmode=verify-full.",
        )
    if not ends.direct and not ends.beyond and not ends.local:
        return (
            "broken",
            f"The connection from the pooler to `{name}` goes over a network, and isn't encrypted.",
        )
    if ends.encrypted:
        insists = "" if ends.insists else ", though its setting doesn't insist"
        version = f" ({ends.version})" if ends.version else ""
        return "kept", f"The connection to `{name}` is encrypted{version}{insists}."
    if ends.local and ends.seen:
        return "kept", f"The connection to `{name}` never leaves this machine."
    return "unproven", (
        f"`{name}` answers at an address of this machine, and its server isn't seen to run here: "
        "what lies between (a pooler, a container, a tunnel) can't be seen."
    )


def _postgresql(name: str, store: SQLStore) -> Proof:
    with store.read() as connection:
        ends, others, hidden = _ends(connection)
    measured: Measured = {
        "store": name,
        "encrypted": ends.encrypted and ends.beyond,
        "version": ends.version,
        "here": ends.near and ends.local and ends.seen,
        "pooler": not ends.direct,
        "others_open": others,
        "others_hidden": hidden,
    }
    verdict, says = judged(name, ends)
    if others:
        verdict = "broken"
        says = f"{others} connections to `{name}` come over a network and aren't encrypted."
    return Proof("measure", verdict, says, measured, unseen=verdict == "unproven")


def _mariadb(name: str, store: SQLStore) -> Proof:
    with store.read() as connection:
        asked = "SHOW SESSION STATUS WHERE Variable_name IN ('Ssl_cipher', 'Ssl_version')"
        said = {str(key): str(value) for key, value in connection.exec_driver_sql(asked)}
        seen = connection.exec_driver_sql("SELECT @@hostname").scalar() == socket.gethostname()
    address = store.engine.url
    near = "unix_socket" in address.query or tls.is_here(address.host or "localhost")
    encrypted = bool(said.get("Ssl_cipher"))
    measured: Measured = {
        "store": name,
        "encrypted": encrypted,
        "version": said.get("Ssl_version") or None,
        "here": near and seen,
    }
    if encrypted:
        insists = (
            "" if {"ssl_ca", "ssl_capath"} & address.query.keys() else ", though its setting doesn't insist"
        )
        says = f"The connection to `{name}` is encrypted ({said.get('Ssl_version')}){insists}."
        return Proof("measure", "kept", says, measured)
    if near and seen:
        return Proof("measure", "kept", f"The connection to `{name}` never leaves this machine.", measured)
    if near:
        says = (
            f"`{name}` answers at an address of this machine, and its server calls itself by another name: "
        )
        says += "what lies between (a container, a tunnel) can't be seen."
        return Proof("measure", "unproven", says, measured, unseen=True)
    says = f"The connection to `{name}` goes over a network and isn't encrypted: add ssl_ca=…."
    return Proof("measure", "broken", says, measured)


def _file(name: str, path: str) -> Proof:
    kind = _file_system(path)
    if kind in _NETWORK:
        says = f"`{name}` is on a disk of another machine ({kind}); whether the way there is encrypted can't be seen."
        return _proof(name, "unproven", says)
    return _proof(name, "kept", f"`{name}` is a file on this machine: nothing of it crosses a network.")


def _file_system(path: str) -> str | None:
    """The kind of file system a path is on, by the longest mount point before it; None where nothing tells."""
    best, kind = "", None
    try:
        with open("/proc/self/mounts", encoding="utf-8") as mounts:
            for line in mounts:
                _, point, found, *_ = line.split()
                point = point.replace("\\040", " ")
                if len(point) >= len(best) and (path + "/").startswith(point.rstrip("/") + "/"):
                    best, kind = point, found
    except OSError:
        return None  # no Linux
    return kind


def _api(name: str, access: Access) -> Proof:
    if not access.base.startswith("https:"):
        says = f"`{name}` is a stand-in on this machine: nothing is sent over a network."
        return _proof(name, "kept", says, stand_in=True)
    parts = urlsplit(access.base)
    return _met(name, tls.meet(parts.hostname or "", parts.port or 443))


def _site(name: str, address: str | None) -> Proof:
    if address is None:
        return _proof(name, "unproven", f"Where `{name}` is, no setting says.")
    parts = urlsplit(address)
    if parts.scheme != "https":
        if tls.is_here(parts.hostname or ""):
            return _proof(
                name, "kept", f"`{name}` is served on this machine: nothing crosses a network.", stand_in=True
            )
        return _proof(
            name, "broken", f"`{name}` is declared at an address that isn't encrypted: write https://."
        )
    seen = sites.look(address)
    met = _met(name, seen.tls)
    measured: Measured = {**met.measured, "hsts": seen.hsts, "plain": seen.plain}
    if met.verdict != "kept":
        return Proof("measure", met.verdict, met.says, measured)
    if seen.plain == "answers":
        says = f"`{name}` also answers unencrypted, without sending browsers to https."
        return Proof("measure", "broken", says, measured)
    if seen.plain == "redirects" and not seen.hsts:
        says = f"`{name}` is reached unencrypted first, each time: it sends no Strict-Transport-Security."
        return Proof("measure", "broken", says, measured)
    how = "redirects to https" if seen.plain == "redirects" else "doesn't answer"
    stay = (
        f"browsers stay with it for {seen.hsts // 86400} days"
        if seen.hsts
        else "it tells browsers nothing (HSTS)"
    )
    return Proof("measure", "kept", f"{met.says[:-1]}; its unencrypted address {how}, and {stay}.", measured)


def _met(name: str, met: tls.Met) -> Proof:
    measured: Measured = {
        "store": name,
        "version": met.version,
        "certificate_until": met.until.isoformat() if met.until else None,
        "old_versions": met.old,
    }
    if met.why_not is not None:
        verdict: Verdict = "unproven" if met.silent else "broken"
        return Proof("measure", verdict, f"`{name}` isn't seen to be encrypted: {met.why_not}.", measured)
    if met.old:
        says = f"`{name}` still takes TLS 1.1 or older, which RFC 8996 forbids."
        return Proof("measure", "broken", says, measured)
    until = f", its certificate good until {met.until:%Y-%m-%d}" if met.until else ""
    return Proof("measure", "kept", f"`{name}` speaks {met.version}{until}.", measured)


def _others(company: Company) -> Iterator[Proof]:
    """The mail server, Kept's own database, and the pages that Kept serves, as far as they are set."""
    mail = urlsplit(company.settings.get("KEPT_SMTP_URL", ""))
    if mail.scheme:
        safe = mail.scheme in ("smtps", "smtp+starttls")
        if safe or tls.is_here(mail.hostname or ""):
            how = f"goes out encrypted ({mail.scheme})" if safe else "is handed to a server on this machine"
            yield _proof("KEPT_SMTP_URL", "kept", f"Mail {how}; no letter is sent otherwise.")
        else:
            yield _proof("KEPT_SMTP_URL", "broken", "Mail is handed over unencrypted.")
    if company.public_url:
        parts = urlsplit(company.public_url)
        if parts.scheme == "https" or tls.is_here(parts.hostname or ""):
            where = "over https" if parts.scheme == "https" else "on this machine"
            yield _proof("KEPT_PUBLIC_URL", "kept", f"The pages that Kept serves are linked to {where}.")
        else:
            yield _proof(
                "KEPT_PUBLIC_URL", "broken", "People are sent to Kept's pages by an unencrypted address."
            )
    if company.state.is_server:
        with company.state.read() as connection:
            verdict, says = judged("KEPT_STATE_URL", _ends(connection)[0])
        measured: Measured = {"store": "KEPT_STATE_URL"}
        yield Proof("measure", verdict, says, measured, unseen=verdict == "unproven")


def _proof(name: str, verdict: Verdict, says: str, **measured: bool) -> Proof:
    return Proof("measure", verdict, says, {"store": name, **measured})
