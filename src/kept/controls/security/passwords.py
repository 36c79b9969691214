"""Passwords: weak ones are refused with words, of the others only a slow, salted hash is kept.

    passwords = Passwords.of(company)
    why = passwords.weak(typed, about=[user.email, user.name])     # None, or a sentence for the person
    user.hash = passwords.hash(typed, about=[…])
    found = passwords.verify(user.hash, typed)
    if found.right and found.again:
        user.hash = found.again                                    # the cost has grown since

Hashing: argon2id (RFC 9106) with what the OWASP Password Storage Cheat Sheet asks. Rules: NIST SP 800-63B-4, 3.1.1.2:
64 characters and more allowed, any character, Unicode in one form (NFKC), nothing cut off, no rules of composition,
what is on a list of breached passwords refused. It asks for 15 characters where a password is all there is, and for 8
beside a second factor: `least`. Strength as zxcvbn counts it, 0 to 4.
"""

from __future__ import annotations

import secrets
import unicodedata
from base64 import b64encode
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from zxcvbn import zxcvbn  # type: ignore[import-untyped]  # it has no types

from kept.company import Company
from kept.controls.security.declare import Hashing
from kept.errors import KeptError

LEAST: Final = 8  # characters
LONGEST: Final = 256  # characters; a limit that keeps the work for one log-in small
LOOKED_AT: Final = 72  # characters from which zxcvbn judges; it takes no more, and judges more no better
STRENGTH: Final = 3

MEMORY: Final = 19_456  # KiB
PASSES: Final = 2
LANES: Final = 1

Breached = Callable[[str], bool]


class Weak(KeptError):
    """A password that isn't taken; the message is for whoever typed it, and doesn't repeat it."""


@dataclass(frozen=True)
class Verified:
    """Whether a password is the right one; `again` is a hash to store where the old one is cheaper than today's."""

    right: bool
    again: str | None = None


class Passwords:
    """Hashes and verifies; `strength` is the least taken, `breached` tells whether a password was published."""

    def __init__(
        self,
        strength: int = STRENGTH,
        *,
        least: int = LEAST,
        breached: Breached | None = None,
        hasher: PasswordHasher | None = None,
        note: Callable[[str], None] | None = None,
    ) -> None:
        self.strength, self.least, self.breached, self._note = strength, least, breached, note
        self._hasher = hasher or PasswordHasher(time_cost=PASSES, memory_cost=MEMORY, parallelism=LANES)

    @classmethod
    def of(
        cls,
        company: Company,
        data: str | None = None,
        *,
        least: int = LEAST,
        breached: Breached | None = None,
    ) -> Passwords:
        """As the policy promises for some data (left out: for the only data it hashes); each hash made is on record.

        The record is a fingerprint under the company's key on the ledger, by which the board tells a hash that passed
        this check from one that was written past it.
        """
        promises = [one for one in company.policy.section("security").values() if isinstance(one, Hashing)]
        names = [str(name) for one in promises for name in one.hashes]
        if data is None and len(names) == 1:
            data = names[0]
        promise = next((one for one in promises if data in {str(name) for name in one.hashes}), None)
        if promise is None:
            raise KeptError(
                "the policy hashes no such data", help="known: " + ", ".join(names) if names else None
            )
        strength = promise.strength or STRENGTH

        def note(hash: str) -> None:
            entry = {"act": "password", "data": data, "strength": strength}
            company.ledger.append_many([(fingerprint(company, hash), entry)])

        return cls(strength, least=least, breached=breached, note=note)

    def weak(self, password: str, about: Collection[str] = ()) -> str | None:
        """Why a password isn't taken, as a sentence for whoever typed it; None where it is.

        `about` are the person's own words (name, e-mail address), with which a password is easily guessed.
        """
        text = normal(password)
        if not _is_text(text):
            return "It has characters that are no text."
        if len(text) < self.least:
            return f"It is too short: {self.least} characters at least."
        if len(text) > LONGEST:
            return f"It is too long: {LONGEST} characters at most."
        if self.breached is not None and self.breached(text):
            return "It stands on a list of passwords that were stolen elsewhere: choose another one."
        found = zxcvbn(text[:LOOKED_AT], user_inputs=_words(about))
        if found["score"] >= self.strength:
            return None
        why = str(found["feedback"]["warning"]).rstrip(".")
        return (
            f"It is easily guessed{f' ({why[0].lower()}{why[1:]})' if why else ''}: add another word or two."
        )

    def hash(self, password: str, about: Collection[str] = ()) -> str:
        """The hash to store; Weak where the password isn't taken."""
        why = self.weak(password, about)
        if why is not None:
            raise Weak(why)
        return self._hashed(normal(password))

    def verify(self, stored: str | None, password: str) -> Verified:
        """Whether a password is that of a stored hash; `None` where nobody has the name that was typed.

        That costs the same work as a wrong password, so that nobody learns who has an account. A hash of another scheme
        than argon2 is never right here: let its own library verify it, then `hash` anew.
        """
        text = normal(password)
        if len(text) > LONGEST or not _is_text(text):
            text, stored = "", None
        try:
            self._hasher.verify(stored or self._nobody, text)
        except (VerificationError, InvalidHashError):
            return Verified(False)
        if not stored:
            return Verified(False)  # somebody tried the word behind which nobody stands
        if not self._hasher.check_needs_rehash(stored):
            return Verified(True)
        # a right password may still be a weak one, from before it was checked
        return Verified(True, self._hashed(text, checked=self.weak(text) is None))

    @cached_property
    def _nobody(self) -> str:
        """A hash as costly as any other, and of no password: made of random bytes, without the work of a hash."""
        cost = f"m={self._hasher.memory_cost},t={self._hasher.time_cost},p={self._hasher.parallelism}"
        sizes = (self._hasher.salt_len, self._hasher.hash_len)
        salt, digest = (b64encode(secrets.token_bytes(size)).decode().rstrip("=") for size in sizes)
        return f"$argon2id$v=19${cost}${salt}${digest}"

    def _hashed(self, text: str, *, checked: bool = True) -> str:
        made = self._hasher.hash(text)
        if checked and self._note is not None:
            self._note(made)
        return made


def _is_text(text: str) -> bool:
    """Whether a text has no half characters (surrogates), which JSON lets through and no encoding can write."""
    return not any("\ud800" <= one <= "\udfff" for one in text)


def normal(password: str) -> str:
    """The one form of a password, however a keyboard put its characters together (NFKC, Unicode annex 15)."""
    # so many characters give more than LONGEST in one form, too: they are refused, without the work on a whole book
    return unicodedata.normalize("NFKC", password[: 8 * LONGEST])


def fingerprint(company: Company, hash: str) -> str:
    """Under which key a hash stands on the ledger; nobody without the company's keys can make it."""
    return f"password {company.keys.mac('password hash', hash.encode()).hex()}"


def _words(about: Collection[str]) -> Sequence[str]:
    """A person's words, and the parts of each: of an address the name before the @ too."""
    parts = {part for word in about for part in (word, *word.replace("@", " ").replace(".", " ").split())}
    return sorted(part for part in parts if len(part) > 2)
