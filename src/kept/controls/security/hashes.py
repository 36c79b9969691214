"""Recognises how passwords are hashed, and whether that is slow enough; counts them in a live store.

The costs are those of the OWASP Password Storage Cheat Sheet (2023 to 2026): for each scheme its least expensive
equivalents. Argon2 is RFC 9106, scrypt RFC 7914, PBKDF2 RFC 8018.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import sqlalchemy as sa

from kept.stores.sql import SQLStore

ARGON2ID: Final = ((47104, 1), (19456, 2), (12288, 3), (9216, 4), (7168, 5))  # KiB of memory, passes
SCRYPT: Final = ((17, 1), (16, 2), (15, 3), (14, 5), (13, 10))  # log2 of N, p; each with r = 8
BCRYPT: Final = 10
PBKDF2: Final = {"sha512": 210_000, "sha256": 600_000, "sha1": 1_300_000}  # rounds
SALT: Final = 11  # characters at least
DIGEST: Final = 22
MOST: Final = 50  # sorts of hash told apart in one column

_FORMS: Final = (
    (
        "argon2id",
        re.compile(r"(?P<head>(argon2)?\$argon2id\$v=19\$m=(?P<m>\d+),t=(?P<t>\d+),p=\d+\$)(?P<rest>.+)"),
    ),
    ("scrypt", re.compile(r"(?P<head>\$scrypt\$ln=(?P<ln>\d+),r=(?P<r>\d+),p=(?P<p>\d+)\$)(?P<rest>.+)")),
    ("scrypt", re.compile(r"(?P<head>scrypt:(?P<n>\d+):(?P<r>\d+):(?P<p>\d+)\$)(?P<rest>.+)")),
    ("bcrypt", re.compile(r"(?P<head>(bcrypt_sha256\$|bcrypt\$)?\$2[aby]\$(?P<cost>\d\d)\$)(?P<one>.+)")),
    ("pbkdf2", re.compile(r"(?P<head>\$?pbkdf2[_:-](?P<hash>sha\d+)[$:](?P<rounds>\d+)\$)(?P<rest>.+)")),
)
STARTS: Final = (
    "$argon2id$",
    "argon2$argon2id$",
    "$scrypt$",
    "scrypt:",
    "$2a$",
    "$2b$",
    "$2y$",
    "bcrypt",
    "pbkdf2",
    "$pbkdf2",
)


@dataclass(frozen=True)
class Hash:
    """One sort of hash: its scheme, whether its cost is enough, and what every such text begins with."""

    scheme: str
    enough: bool
    head: str
    parts: int  # behind the head, with a `$` between

    @property
    def like(self) -> str:
        """A LIKE pattern (escape `!`) that every text of this sort fits, and hardly another one."""
        head = self.head.replace("!", "!!").replace("%", "!%").replace("_", "!_")
        rest = f"{'_' * SALT}%$%{'_' * DIGEST}%" if self.parts == 2 else "_" * 53
        return head + rest


def recognised(text: str) -> Hash | None:
    """The sort of a password's hash; None for what isn't one that is slow and salted."""
    for scheme, form in _FORMS:
        found = form.fullmatch(text)
        if found is None:
            continue
        said = found.groupdict()
        if scheme == "bcrypt":
            if re.fullmatch(r"[./A-Za-z0-9]{53}", said["one"]) is None:
                return None
            return Hash(scheme, int(said["cost"]) >= BCRYPT, said["head"], 1)
        salt, _, digest = said["rest"].partition("$")
        if len(salt) < SALT or len(digest) < DIGEST or "$" in digest:
            return None
        return Hash(scheme, _is_slow(scheme, said), said["head"], 2)
    return None


def _is_slow(scheme: str, said: Mapping[str, str]) -> bool:
    if scheme == "argon2id":
        return any(int(said["m"]) >= memory and int(said["t"]) >= passes for memory, passes in ARGON2ID)
    if scheme == "scrypt":
        log = int(said["ln"]) if "ln" in said else int(said["n"]).bit_length() - 1
        return int(said["r"]) >= 8 and any(log >= least and int(said["p"]) >= p for least, p in SCRYPT)
    return int(said["rounds"]) >= PBKDF2.get(said["hash"], 2**63)


@dataclass(frozen=True)
class Counted:
    """What a column holds: values, slow hashes by scheme, hashes whose cost is too small, and whatever else."""

    values: int
    slow: Mapping[str, int]
    cheap: int
    others: int


def count(store: SQLStore, table: str, column: str) -> Counted:
    """Count a column's values by their form. The database counts; a value of each sort is read to learn the sort.

    What an erasure left (empty texts) isn't counted.
    """
    value = store.table(table).c[column]
    filled = value.is_not(None) & (value != "")
    starts = sa.or_(*(value.like(_escaped(start) + "%", escape="!") for start in STARTS))
    sorts: dict[str, Hash] = {}
    with store.read() as connection:
        total = connection.execute(sa.select(sa.func.count()).where(filled)).scalar_one()
        slow: dict[str, int] = {}
        cheap = 0
        unknown = [filled, starts]
        for _ in range(MOST):
            text = connection.execute(sa.select(value).where(*unknown).limit(1)).scalar()
            if text is None:
                break
            found = recognised(str(text))
            if found is None or found.like in sorts:
                unknown.append(value != text)  # a damaged one: the next
                continue
            sorts[found.like] = found
            fits = value.like(found.like, escape="!")
            number = connection.execute(sa.select(sa.func.count()).where(filled, fits)).scalar_one()
            if found.enough:
                slow[found.scheme] = slow.get(found.scheme, 0) + number
            else:
                cheap += number
            unknown.append(~fits)
    return Counted(total, slow, cheap, total - sum(slow.values()) - cheap)


def _escaped(start: str) -> str:
    return start.replace("_", "!_")
