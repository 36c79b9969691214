"""Real mail servers on this machine: SMTP (aiosmtpd) and IMAP (pymap), with and without TLS; and Kept's own state."""

from __future__ import annotations

import imaplib
import ipaddress
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from kept.evidence.keys import Keys
from kept.state.database import State

NOW = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)


@dataclass
class Clock:
    """A clock that goes on when told."""

    now: datetime = NOW

    def __call__(self) -> datetime:
        return self.now

    def on(self, **by: float) -> None:
        self.now += timedelta(**by)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def keys() -> Keys:
    return Keys(b"s" * 32, b"i" * 32, b"l" * 32)


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    opened = State(tmp_path / "kept.sqlite")
    yield opened
    opened.close()


@dataclass(frozen=True)
class Certificate:
    """A certificate for this machine, and what trusts it."""

    chain: Path
    key: Path

    def server(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.chain, self.key)
        return context

    def client(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.chain))


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    folder = tmp_path_factory.mktemp("certificate")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName(
                [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
            ),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    chain, private = folder / "chain.pem", folder / "key.pem"
    chain.write_bytes(made.public_bytes(Encoding.PEM))
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return Certificate(chain, private)


def free_port() -> int:
    with socket.socket() as asked:
        asked.bind(("127.0.0.1", 0))
        port: int = asked.getsockname()[1]
    return port


@dataclass
class Postbox:
    """An SMTP server that keeps what it is sent; `answers` are what it says to RCPT and DATA, where not "250"."""

    port: int
    raw: list[bytes] = field(default_factory=list)
    recipients: list[str] = field(default_factory=list)
    at_rcpt: str | None = None
    at_data: str | None = None
    sessions: set[int] = field(default_factory=set)

    async def handle_RCPT(  # noqa: N802  the server's own name
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        self.sessions.add(id(session))
        if self.at_rcpt:
            return self.at_rcpt
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        if self.at_data:
            return self.at_data
        assert isinstance(envelope.content, bytes)
        self.raw.append(envelope.content)
        self.recipients += envelope.rcpt_tos
        return "250 OK"


def _login(server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any) -> AuthResult:
    right = isinstance(data, LoginPassword) and (data.login, data.password) == (b"kept", b"p@ss/word")
    return AuthResult(success=right, handled=False)


Smtpd = Callable[..., Postbox]


@pytest.fixture
def smtpd(certificate: Certificate) -> Iterator[Smtpd]:
    """Starts a server: `smtpd()`, `smtpd(tls="starttls")`, `smtpd(tls="implicit")`."""
    running: list[Controller] = []

    def start(tls: str | None = None, port: int | None = None, **more: Any) -> Postbox:
        box = Postbox(port or free_port())
        if tls == "starttls":
            more |= {"tls_context": certificate.server(), "authenticator": _login, "auth_required": True}
        controller = Controller(
            box,
            hostname="127.0.0.1",
            port=box.port,
            ssl_context=certificate.server() if tls == "implicit" else None,
            **more,
        )
        controller.start()
        running.append(controller)
        return box

    yield start
    for controller in running:
        controller.stop()


@dataclass(frozen=True)
class Imapd:
    """An IMAP server and one folder of it, for one test."""

    port: int
    folder: str

    @property
    def url(self) -> str:
        done, aside = f"{self.folder}-done", f"{self.folder}-aside"
        return f"imap://demouser:demopass@127.0.0.1:{self.port}/{self.folder}?done={done}&aside={aside}"

    def put(self, raw: bytes, folder: str | None = None) -> None:
        with self._client() as client:
            assert client.append(folder or self.folder, "", "", raw)[0] == "OK"

    def mark_deleted(self, number: int) -> None:
        with self._client() as client:
            client.select(self.folder)
            client.store(str(number), "+FLAGS", r"(\Deleted)")

    def inside(self, end: str = "", flags: bool = False) -> list[str]:
        """The subjects in a folder (or the flags of its messages); none where there is no such folder."""
        with self._client() as client:
            found, counted = client.select(f"{self.folder}{end}", readonly=True)
            if found != "OK" or not int(counted[0] or 0):
                return []
            if flags:
                return [
                    line.decode() for line in client.fetch("1:*", "(FLAGS)")[1] if isinstance(line, bytes)
                ]
            _, parts = client.fetch("1:*", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
        return [part[1].decode().partition(":")[2].strip() for part in parts if isinstance(part, tuple)]

    def _client(self) -> imaplib.IMAP4:
        client = imaplib.IMAP4("127.0.0.1", self.port, timeout=10)
        client.login("demouser", "demopass")
        return client


def _started(*options: str) -> tuple[int, subprocess.Popen[bytes]]:
    port = free_port()
    server = subprocess.Popen(
        [
            *(sys.executable, "-c", "import sys; from pymap.main import main; sys.exit(main())"),
            *("--host", "127.0.0.1", "--port", str(port), *options, "dict"),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    for _ in range(300):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return port, server
        except OSError:
            time.sleep(0.1)
    server.kill()
    server.wait()
    raise RuntimeError("the IMAP server didn't start")


@pytest.fixture(scope="session")
def imap_port() -> Iterator[int]:
    port, server = _started("--no-tls")
    yield port
    server.kill()
    server.wait()


@pytest.fixture
def imapd(imap_port: int, request: pytest.FixtureRequest) -> Imapd:
    made = Imapd(imap_port, f"box-{abs(hash(request.node.name)) % 10**10}")
    with made._client() as client:
        client.create(made.folder)
    return made


@pytest.fixture
def imap_tls_port(certificate: Certificate) -> Iterator[int]:
    port, server = _started("--cert", str(certificate.chain), "--key", str(certificate.key))
    yield port
    server.kill()
    server.wait()
