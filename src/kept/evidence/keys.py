"""The keys of one company: one that signs, one that finds people again without naming them, one that
seals."""

from __future__ import annotations

import contextlib
import hmac
import os
import secrets
import stat
from hashlib import sha256
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from kept.errors import KeptError

FILE = "kept.keys"
_FORMAT = "kept-keys 1"
_NAMES = ("sign", "index", "seal")
_NONCE = 12  # bytes; the size NIST SP 800-38D §8.2 gives AES-GCM


class Keys:
    """The three secret keys, read from one file, so that there is never half a set."""

    __slots__ = ("_derived", "_index", "_seal", "_sign", "public")

    public: bytes
    """The public half of the signing key: 32 bytes, for whoever checks a ledger."""

    def __init__(self, sign: bytes, index: bytes, seal: bytes) -> None:
        """Each key is 32 secret bytes; use `Keys.open`, which keeps them."""
        self._sign = Ed25519PrivateKey.from_private_bytes(sign)
        self._index = index
        self._seal = seal
        self._derived: dict[str, bytes] = {}
        self.public = self._sign.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)

    def __repr__(self) -> str:
        return f"Keys(public={self.public.hex()})"

    @classmethod
    def open(cls, directory: Path) -> Keys:
        """Read the keys of `directory`, and make them there on first use (file mode 0600, folder 0700).

        Raises KeptError when the file is damaged, or can be read by others than its owner.
        """
        path = directory / FILE
        try:
            if not path.exists():
                _create(directory, path)
            return cls(**_read(path))
        except OSError as error:
            raise KeptError(
                f"the keys can't be read or made: {error.strerror}",
                help="see that the folder can be written by the user Kept runs as",
                where=str(path),
            ) from error

    def sign(self, message: bytes) -> bytes:
        """An Ed25519 signature (RFC 8032), 64 bytes."""
        return self._sign.sign(message)

    def index(self, who: str) -> str:
        """Where a person is found again in Kept's own tables: HMAC-SHA256, hex; can't be turned back into
        `who`."""
        return hmac.digest(self._index, who.encode(), "sha256").hex()

    def seal(self, purpose: str, plain: bytes) -> bytes:
        """Encrypt so that only the holder of these keys reads it, and only for the same purpose
        (AES-256-GCM)."""
        nonce = secrets.token_bytes(_NONCE)
        return nonce + AESGCM(self._sealing(purpose)).encrypt(nonce, plain, None)

    def unseal(self, purpose: str, sealed: bytes) -> bytes:
        """What was sealed; KeptError when it was altered, sealed for another purpose, or with other keys."""
        try:
            return AESGCM(self._sealing(purpose)).decrypt(sealed[:_NONCE], sealed[_NONCE:], None)
        except (InvalidTag, ValueError) as error:
            raise KeptError(
                "a sealed value can't be opened: it was altered, or sealed with other keys, or for another "
                "purpose",
                help=f"if the keys were replaced, put the old file {FILE} back",
            ) from error

    def mac(self, purpose: str, message: bytes) -> bytes:
        """HMAC-SHA256 under a key of the purpose's own, 32 bytes: what it is made for, it is good for only."""
        key = HKDF(SHA256(), 32, salt=None, info=b"kept mac " + purpose.encode()).derive(self._seal)
        return hmac.digest(key, message, "sha256")

    def _sealing(self, purpose: str) -> bytes:
        found = self._derived.get(purpose)
        if found is None:
            found = HKDF(SHA256(), 32, salt=None, info=b"kept seal " + purpose.encode()).derive(self._seal)
            if " " not in purpose:  # one for each letter would never be asked for again
                self._derived[purpose] = found
        return found


def _read(path: Path) -> dict[str, bytes]:
    with path.open("rb") as file:
        mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
        text = file.read(1024)
    if mode & 0o077:
        raise KeptError(
            f"others than its owner may read the keys (mode {mode:04o})",
            help=f"chmod 600 {path}, and think about who may have read them",
            where=str(path),
        )
    lines = text.decode("ascii", "replace").splitlines()
    found = dict(line.split(" ", 1) for line in lines if " " in line)
    with contextlib.suppress(KeyError, ValueError):
        keys = {name: bytes.fromhex(found[name]) for name in _NAMES}
        if text == _written(keys):
            return keys
    raise KeptError(
        "the file of keys is damaged",
        help="put back the copy from your backup; without it nobody can be found again in Kept's records",
        where=str(path),
    )


def _written(keys: dict[str, bytes]) -> bytes:
    lines = [_FORMAT, *(f"{name} {keys[name].hex()}" for name in _NAMES)]
    check = sha256("\n".join(lines).encode()).hexdigest()[:16]
    return "\n".join([*lines, f"check {check}", ""]).encode()


def _create(directory: Path, path: Path) -> None:
    """Make the file whole or not at all; of several processes that try, one wins and all read its keys."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = directory / f".{FILE}.{secrets.token_hex(8)}"
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(_written({name: secrets.token_bytes(32) for name in _NAMES}))
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
    finally:
        draft.unlink()
    folder = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
