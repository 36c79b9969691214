"""`kept serve`: the pages for people and the API, with a worker beside them; `kept mail`: e-mails come in."""

from __future__ import annotations

import gc
import logging
import signal
import socket
import sys
from contextlib import AbstractContextManager
from functools import lru_cache, partial
from pathlib import Path
from typing import Final

import click

from kept import company
from kept.cli.company import at_work, directory, opened, place
from kept.company import Company
from kept.controls.registry import load
from kept.controls.rights import intake
from kept.errors import KeptError
from kept.mail.pipe import TRY_AGAIN, receive
from kept.policy.policy import Policy

SWITCH: Final = 0.0005  # seconds a thread works before another gets its turn

MISSING: Final = {
    "KEPT_PUBLIC_URL": "links in letters lead nowhere: the form is closed, and e-mails become tasks for staff",
    "KEPT_SMTP_URL": "no letter can be sent: the form is closed, and e-mails become tasks for staff",
    "KEPT_IMAP_URL": "no mailbox is looked at",
    "KEPT_API_TOKEN": "the API is closed",
}


@click.command()
@directory
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen at.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="0: any that is free."
)
@click.option("--work/--no-work", default=True, help="Do what is due, too; `kept work` does it elsewhere.")
def serve(folder: Path | None, host: str, port: int, work: bool) -> None:
    """Serve the form, the pages of requests and the API, and do what is due. Ctrl-C ends it, with nothing half done.

    Put a web server that speaks TLS before it, and name its address in KEPT_PUBLIC_URL.
    """
    import uvicorn  # half a second that no other command should wait for

    from kept.server.office import Office
    from kept.server.site import site
    from kept.server.worker import Worker

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    for noisy in ("httpx", "httpcore", "alembic", "dbos"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    try:
        listening = socket.create_server(
            (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET
        )
    except OSError as wrong:
        raise KeptError(
            f"{host}:{port} can't be used: {wrong.strerror}", help="choose another --port"
        ) from None
    # asyncio leaves this to sockets that say they are TCP's, which this one doesn't: 40 ms for each answer.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    where, policy = place(folder, None)
    stamp = partial(_stamp, policy, where / ".env")

    def open_() -> AbstractContextManager[Company]:
        return company.opened(_read(policy, _stamp(policy)), where)

    with listening, Office(open_, partial(at_work, folder), stamp) as office:
        _tell_missing(office.company)
        click.echo(f"Serving http://{host}:{listening.getsockname()[1]}/ask   (Ctrl-C ends it)", err=True)
        # Tokens stand in paths, so no line is written about each visit.
        config = uvicorn.Config(
            site(office), log_level="warning", access_log=False, lifespan="off", server_header=False
        )
        worker = Worker(office) if work else None
        if worker is not None:
            worker.start()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(
                number, signal.SIG_IGN
            )  # uvicorn takes them, and raises them once more when it has ended
        # What is loaded now stays: to look through it again and again would cost the slowest answers their time, and
        # so would a thread that works for 5 ms before another gets its turn.
        gc.collect()
        gc.freeze()
        sys.setswitchinterval(SWITCH)
        try:
            uvicorn.Server(config).run(sockets=[listening])
        finally:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            if worker is not None and not worker.stop():
                click.echo("The work under way was cut off; the next start goes on with it.", err=True)


@lru_cache(maxsize=1)
def _read(policy: Path, stamp: object) -> Policy:
    """The policy in a file, read once for each time it was written."""
    return load(policy)


def _stamp(*files: Path) -> tuple[tuple[int, int] | None, ...]:
    """Another one when a file was written anew."""
    found: list[tuple[int, int] | None] = []
    for file in files:
        try:
            told = file.stat()
        except OSError:
            found.append(None)
        else:
            found.append((told.st_mtime_ns, told.st_size))
    return tuple(found)


def _tell_missing(opened_: Company) -> None:
    for name, means in MISSING.items():
        if not opened_.settings.get(name):
            click.echo(f"{name} is not set: {means}.", err=True)


@click.group()
def mail() -> None:
    """E-mails that people write to the company's privacy address."""


@mail.command("fetch")
@directory
def fetch(folder: Path | None) -> None:
    """Take what is in the mailbox of KEPT_IMAP_URL, once."""
    with opened(folder) as found_:
        found = intake.fetch(found_)
    if found is None:
        raise KeptError("there is no mailbox", help="set KEPT_IMAP_URL: imaps://user:password@host/INBOX")
    click.echo(f"{found.taken} messages taken, {found.known} were known, {found.aside} put aside for staff.")
    if found.taken:
        click.echo("`kept work` looks at them, and so does a `kept serve` that runs.")


@mail.command("receive")
@directory
@click.option("--sender", help="The envelope's sender, as the mail server gives it; empty for a bounce.")
def receive_(folder: Path | None, sender: str | None) -> None:
    """Take one message on standard input, for a mail server's alias: |kept mail receive --dir D

    \b
    0   taken, or known from before
    65  it is no e-mail: send it back
    75  not now: keep it, and hand it over again
    """
    try:
        with opened(folder) as found:
            code = receive(sys.stdin.buffer, intake.inbox(found), sender)
    except KeptError as wrong:
        click.echo(f"error: {wrong}", err=True)
        code = TRY_AGAIN  # a request may be in there: the mail server keeps it until this is mended
    raise SystemExit(code)


COMMANDS = (serve, mail)
