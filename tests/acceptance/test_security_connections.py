"""What the board says of connections: sites and databases over TLS, or on this machine, each looked at for real."""

from __future__ import annotations

import ipaddress
import os
import shutil
import socket
import ssl
import subprocess
import tempfile
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psycopg
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from kept.company import Company
from kept.controls.security import connections, sites, tls
from kept.controls.security.prove import prove
from kept.evidence.proof import Proof
from tests.acceptance.sealed import POLICY, company, database
from tests.plugins.not_run import find

STAY = {"Strict-Transport-Security": "max-age=31536000; includeSubDomains"}
SITE = POLICY.replace("people:\n", "  site: {at: $SITE_URL, kind: browser}\npeople:\n", 1)
HERE = connections.Ends(
    encrypted=False, insists=False, near=True, direct=True, beyond=False, local=True, seen=True
)
POSTGRES = Path(shutil.which("postgres") or "/nowhere").resolve()


def proofs(opened: Company, name: str) -> list[Proof]:
    return prove(opened, opened.policy.section("security")[name])


def proof_of(opened: Company, store: str) -> Proof:
    [found] = [one for one in connections.measure(opened) if one.measured.get("store") == store]
    return found


def with_security(*lines: str, text: str = POLICY) -> str:
    return text[: text.index("security:\n")] + "security:\n" + "".join(f"  {line}\n" for line in lines)


@dataclass(frozen=True)
class Authority:
    """A certificate authority that only these tests trust."""

    folder: Path
    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @classmethod
    def made(cls, folder: Path) -> Authority:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "An authority of the tests")])
        built = _builder(name, name, key, timedelta(days=30)).add_extension(
            x509.BasicConstraints(ca=True, path_length=None), critical=True
        )
        certificate = built.sign(key, hashes.SHA256())
        folder.mkdir()
        (folder / "authority.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        return cls(folder, key, certificate)

    @property
    def file(self) -> Path:
        return self.folder / "authority.pem"

    def issue(self, name: str, *, lasts: timedelta = timedelta(days=7)) -> Path:
        """A key and a certificate for this machine, in one file."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
        names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        built = _builder(subject, self.certificate.subject, key, lasts)
        signed = built.add_extension(x509.SubjectAlternativeName(names), critical=False).sign(
            self.key, hashes.SHA256()
        )
        path = self.folder / f"{name}.pem"
        path.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
            + signed.public_bytes(serialization.Encoding.PEM)
        )
        path.chmod(0o600)
        return path


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, lasts: timedelta
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=30))
        .not_valid_after(now + lasts)
    )


@contextmanager
def serving(
    status: int, headers: dict[str, str], certificate: Path | None = None, *, old: bool = False
) -> Iterator[int]:
    """A web server that answers everything alike, with TLS where it has a certificate; gives its port."""

    context = _secured(certificate, old=old) if certificate is not None else None

    class Answering(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    class Secured(ThreadingHTTPServer):
        daemon_threads = False

        def finish_request(self, request: Any, client_address: Any) -> None:
            if context is None:
                super().finish_request(request, client_address)
                return
            with suppress(OSError), context.wrap_socket(request, server_side=True) as secured:
                Answering(secured, client_address, self)  # a client that only shakes hands goes at once

    server = Secured(("127.0.0.1", 0), Answering)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _secured(certificate: Path, *, old: bool) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    if old:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", DeprecationWarning
            )  # that it is deprecated is what the test is about
            context.set_ciphers("ALL:@SECLEVEL=0")
            context.minimum_version = ssl.TLSVersion.TLSv1
    return context


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.made(tmp_path_factory.mktemp("authority") / "files")


@pytest.fixture
def trusted(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> Authority:
    """This machine trusts the tests' authority, as it would a company's own."""
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    return authority


def test_a_site_is_asked_for_its_certificate_its_redirect_and_its_word_to_browsers(
    trusted: Authority,
) -> None:
    with ExitStack() as stack:
        port = stack.enter_context(serving(200, STAY, trusted.issue("good")))
        to = {"Location": f"https://localhost:{port}/"}
        redirects = stack.enter_context(serving(301, to))
        answers = stack.enter_context(serving(200, {}))
        away = stack.enter_context(serving(302, {"Location": "http://localhost/"}))
        address = f"https://localhost:{port}/"
        seen = sites.look(address, plain=redirects)
        assert seen.plain == "redirects" and seen.hsts == 31536000
        assert seen.tls.version == "TLSv1.3" and seen.tls.until is not None and not seen.tls.old
        assert sites.look(address, plain=answers).plain == "answers"
        assert sites.look(address, plain=away).plain == "answers"
        assert sites.look(address, plain=_unused()).plain == "silent"


def _unused() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.mark.parametrize(
    ("headers", "age"),
    [
        ({}, None),
        ({"Strict-Transport-Security": "max-age=0"}, 0),
        ({"Strict-Transport-Security": 'includeSubDomains; MAX-AGE="300"'}, 300),
        ({"Strict-Transport-Security": "max-age=soon"}, None),
        ({"Strict-Transport-Security": "x-max-age=5"}, None),
    ],
)
def test_the_word_to_browsers_is_read_as_they_read_it(
    trusted: Authority, headers: dict[str, str], age: int | None
) -> None:
    with serving(200, headers, trusted.issue("word")) as port:
        assert sites.look(f"https://127.0.0.1:{port}", plain=_unused()).hsts == age


def test_a_certificate_that_nobody_trusts_or_that_lapsed_is_broken(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(200, STAY, authority.issue("stranger")) as port:
        met = tls.meet("localhost", port)
        assert met.version is None and "isn't trusted" in str(met.why_not) and not met.silent
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    with serving(200, STAY, authority.issue("lapsed", lasts=-timedelta(days=1))) as port:
        assert "expired" in str(tls.meet("localhost", port).why_not)
    with serving(200, {}) as port:  # it speaks no TLS at all
        assert "doesn't speak TLS" in str(tls.meet("localhost", port).why_not)
    assert tls.meet("localhost", _unused()).silent


def test_an_old_version_of_tls_is_seen_where_it_is_still_taken(trusted: Authority) -> None:
    with serving(200, STAY, trusted.issue("old"), old=True) as port:
        met = tls.meet("localhost", port)
    assert met.version == "TLSv1.3" and met.old is (True if ssl.HAS_TLSv1_1 else None)
    with serving(200, STAY, trusted.issue("new")) as port:
        assert not tls.meet("localhost", port).old


@pytest.mark.parametrize(
    ("headers", "plain", "verdict"),
    [
        (STAY, "redirects", "kept"),
        ({}, "redirects", "broken"),
        (STAY, "answers", "broken"),
        ({}, "silent", "kept"),
    ],
)
def test_the_board_judges_a_site_by_all_of_it(
    trusted: Authority,
    tmp_path: Path,
    fresh_sqlite: str,
    monkeypatch: pytest.MonkeyPatch,
    headers: dict[str, str],
    plain: str,
    verdict: str,
) -> None:
    database(fresh_sqlite)
    look = sites.look
    with serving(200, headers, trusted.issue("judged")) as port, ExitStack() as stack:
        answer = {"redirects": (301, {"Location": f"https://localhost:{port}/"}), "answers": (200, {})}.get(
            plain
        )
        other = stack.enter_context(serving(*answer)) if answer else _unused()
        monkeypatch.setattr(sites, "look", lambda address: look(address, plain=other))  # port 80 isn't ours
        monkeypatch.setenv("SITE_URL", f"https://localhost:{port}")
        with company(tmp_path, fresh_sqlite, text=SITE) as opened:
            assert proof_of(opened, "site").verdict == verdict


def test_a_site_at_an_unencrypted_address_is_broken_but_on_this_machine(
    tmp_path: Path, fresh_sqlite: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    database(fresh_sqlite)
    for address, verdict in (
        ("http://192.0.2.7", "broken"),
        ("http://127.0.0.1:1", "kept"),
        ("https://shop.example", "unproven"),
        ("", "unproven"),
    ):
        monkeypatch.setenv("SITE_URL", address)
        with company(tmp_path, fresh_sqlite, text=SITE) as opened:
            assert proof_of(opened, "site").verdict == verdict


def test_a_database_on_this_machine_and_one_over_tls_are_told_apart(
    trusted: Authority, tmp_path: Path, postgresql_url: str, fresh_postgresql: str
) -> None:
    database(fresh_postgresql)
    with company(tmp_path, fresh_postgresql) as opened:
        found = proof_of(opened, "app")
        assert found.verdict == "kept" and "never leaves this machine" in found.says
        assert found.measured["encrypted"] is False


@pytest.mark.parametrize(
    ("ends", "verdict"),
    [
        (HERE, "kept"),
        (replace(HERE, direct=False), "kept"),  # a pooler, and it all runs here
        (replace(HERE, seen=False), "unproven"),  # a tunnel looks so at both of its ends
        (replace(HERE, seen=False, local=False), "unproven"),  # a container, or a tunnel
        (
            replace(HERE, seen=False, direct=False, beyond=True),
            "unproven",
        ),  # where the pooler is can't be seen
        (replace(HERE, near=False), "broken"),
        (replace(HERE, near=False, direct=False), "broken"),  # open to a pooler beside the server
        (replace(HERE, near=False, direct=False, beyond=True), "broken"),
        (replace(HERE, near=False, encrypted=True, beyond=True), "kept"),
        (replace(HERE, near=False, encrypted=True, direct=False, local=False, seen=False), "broken"),
    ],
)
def test_a_connection_is_kept_only_as_far_as_both_of_its_ends_are_seen(
    ends: connections.Ends, verdict: str
) -> None:
    found, says = connections.judged("app", ends)
    assert found == verdict and ("never leaves" in says) == (verdict == "kept" and not ends.encrypted)


def test_kepts_own_database_is_judged_by_both_ends_too(
    tmp_path: Path, fresh_sqlite: str, fresh_postgresql: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    database(fresh_sqlite)
    with company(tmp_path, fresh_sqlite, state=fresh_postgresql) as opened:
        assert proof_of(opened, "KEPT_STATE_URL").verdict == "kept"
        monkeypatch.setattr(connections, "_runs_here", lambda _: False)
        assert proof_of(opened, "KEPT_STATE_URL").verdict == "unproven"


@pytest.mark.skipif(
    not POSTGRES.exists(), reason="not run: needs a PostgreSQL of the system's, built with TLS"
)
def test_a_postgresql_connection_over_tls_is_measured_with_its_version(
    trusted: Authority, tmp_path: Path
) -> None:
    with _postgresql_with_tls(trusted) as url:
        database(url)
        with company(tmp_path, f"{url}?sslmode=verify-full&sslrootcert={trusted.file}") as opened:
            found = proof_of(opened, "app")
            assert found.verdict == "kept" and found.measured["encrypted"] is True, found
            assert str(found.measured["version"]).startswith("TLSv1.") and "insist" not in found.says
        with company(tmp_path, url) as opened:
            assert "doesn't insist" in proof_of(opened, "app").says
        with company(tmp_path, f"{url}?sslmode=disable") as opened:
            assert proof_of(opened, "app").measured["encrypted"] is False


@contextmanager
def _postgresql_with_tls(authority: Authority) -> Iterator[str]:
    """A server of its own that listens on a loopback port, with a certificate of the tests' authority."""
    user = {"user": "postgres", "group": "postgres"} if os.getuid() == 0 else {}  # it won't run as root
    with tempfile.TemporaryDirectory(prefix="kept-tls-") as name:
        folder, port = Path(name), _unused()
        certificate = folder / "server.pem"
        certificate.write_bytes(authority.issue("postgresql").read_bytes())
        certificate.chmod(0o600)
        if user:
            for path in (folder, certificate):
                shutil.chown(path, **user)
        quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, **user}
        initdb = [
            str(POSTGRES.with_name("initdb")),
            "-D",
            str(folder / "data"),
            "-U",
            "postgres",
            "-A",
            "trust",
        ]
        subprocess.run(initdb, check=True, timeout=120, cwd=folder, **quiet)
        settings = ("ssl=on", f"ssl_cert_file={certificate}", f"ssl_key_file={certificate}", "fsync=off",
                    "listen_addresses=127.0.0.1", f"port={port}", "unix_socket_directories=")  # fmt: skip
        options = [part for setting in settings for part in ("-c", setting)]
        command = [str(POSTGRES), "-D", str(folder / "data"), *options]
        process = subprocess.Popen(command, cwd=folder, **quiet)
        try:
            _wait(process, port)
            yield f"postgresql://postgres@localhost:{port}/postgres"
        finally:
            process.terminate()
            process.wait(60)


def _wait(process: subprocess.Popen[bytes], port: int) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        assert process.poll() is None, "the server ended while it started"
        with suppress(psycopg.OperationalError):
            psycopg.connect(f"postgresql://postgres@localhost:{port}/postgres").close()
            return
        time.sleep(0.05)
    raise AssertionError("the server doesn't answer")


@pytest.mark.needs("mariadb")
def test_a_mariadb_connection_through_a_socket_never_leaves_this_machine(
    tmp_path: Path, fresh_mariadb: str
) -> None:
    database(fresh_mariadb)
    with company(tmp_path, fresh_mariadb) as opened:
        found = proof_of(opened, "app")
        assert found.verdict == "kept" and found.measured["here"] is True


@pytest.mark.needs("mariadb")
def test_a_mariadb_connection_over_tls_is_measured_with_its_version(
    trusted: Authority, tmp_path: Path
) -> None:
    program = find("mariadb")
    assert program is not None
    own = ["--user=root"] if os.getuid() == 0 else []
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with tempfile.TemporaryDirectory(prefix="kept-my-") as name:
        data, port, certificate = f"--datadir={name}/data", _unused(), trusted.issue("mariadb")
        install = ["mariadb-install-db", "--no-defaults", data, "--skip-test-db", *own]
        install += ["--auth-root-authentication-method=normal", "--skip-name-resolve"]
        subprocess.run(install, check=True, timeout=120, **quiet)
        command = [str(program), "--no-defaults", data, *own, "--bind-address=127.0.0.1", f"--port={port}"]
        command += [f"--socket={name}/socket", f"--pid-file={name}/pid", "--skip-name-resolve"]
        command += [f"--ssl-cert={certificate}", f"--ssl-key={certificate}", f"--ssl-ca={trusted.file}"]
        process = subprocess.Popen(command, **quiet)
        try:
            url = f"mariadb://root@127.0.0.1:{port}/mysql"
            until = time.monotonic() + 60
            while not _listens(port):
                assert process.poll() is None and time.monotonic() < until, "the server doesn't answer"
                time.sleep(0.05)
            with company(tmp_path, f"{url}?ssl_ca={trusted.file}") as opened:
                found = proof_of(opened, "app")
                assert found.measured["encrypted"] is True and "TLSv1." in found.says, found
                assert "insist" not in found.says
            with company(tmp_path, f"{url}?ssl_disabled=true") as opened:
                found = proof_of(opened, "app")
                assert found.measured["encrypted"] is False and "never leaves this machine" in found.says
        finally:
            process.terminate()
            process.wait(60)


def _listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def test_what_nobody_here_connects_to_is_unproven_unless_somebody_confirms_it(
    tmp_path: Path, fresh_sqlite: str
) -> None:
    database(fresh_sqlite)
    outside = POLICY.replace("people:\n", "  far: {kind: outside}\npeople:\n", 1)
    text = with_security("all: {encrypts: connections}", text=outside)
    with company(tmp_path, fresh_sqlite, text=text) as opened:
        found = [(one.verdict, one.unseen) for one in proofs(opened, "all")]
        assert found == [("kept", False), ("unproven", True)]
    for rule, advised in (("", True), (", attest: support every 12 months", False)):
        with company(tmp_path, fresh_sqlite, text=with_security(f"all: {{encrypts: app{rule}}}")) as opened:
            [one] = proofs(opened, "all")
            assert one.verdict == "unproven" and one.unseen and ("attest" in one.says) == advised


def test_a_database_that_cannot_be_reached_is_unproven(tmp_path: Path) -> None:
    url = f"postgresql://nobody@127.0.0.1:{_unused()}/shop"
    with company(tmp_path, url, text=with_security("all: {encrypts: connections}")) as opened:
        [found] = proofs(opened, "all")
        assert found.verdict == "unproven" and "can't be reached" in found.says
