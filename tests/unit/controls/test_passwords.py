"""Passwords: which are taken, how they are hashed, and that each sort of hash is told from the others."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

import pytest
from argon2 import PasswordHasher

from kept.controls.security.breached import BreachedFile, is_breached
from kept.controls.security.hashes import recognised
from kept.controls.security.passwords import LONGEST, Passwords, Verified, Weak
from kept.errors import KeptError

GOOD = "correct horse battery staple"
SALT = "c2FsdHNhbHRzYWx0c2E"
DIGEST = "ZGlnZXN0ZGlnZXN0ZGlnZXN0ZGlnZXN0ZGlnZXN0ZGk"


def test_weak_passwords_are_refused_with_words_and_never_repeated() -> None:
    passwords = Passwords(3)
    for typed, word in (
        ("hen4!", "too short"),
        ("password1234", "guessed"),
        ("qwertyuiop", "guessed"),
        ("aaaaaaaaaaaaaaaa", "guessed"),
        ("x" * (LONGEST + 1), "too long"),
    ):
        why = passwords.weak(typed)
        assert why is not None and word in why and typed not in why
        with pytest.raises(Weak) as refused:
            passwords.hash(typed)
        assert typed not in str(refused.value)
    assert passwords.weak(GOOD) is None


def test_the_declared_strength_decides_and_a_persons_own_words_are_weak() -> None:
    assert Passwords(1).weak("tuesday-rain") is None and Passwords(4).weak("tuesday-rain") is not None
    about = ["ada.lovelace@mail.example", "Ada Lovelace"]
    assert Passwords(3).weak("adalovelace1815") is not None or Passwords(3).weak("lovelaceada", about)
    assert Passwords(3).weak("lovelaceada", about) is not None


def test_a_longer_least_length_is_kept_to() -> None:
    assert Passwords(3, least=15).weak("Tr0ub4dour&3x") is not None
    assert Passwords(3, least=15).weak(GOOD) is None


def test_what_was_hashed_is_verified_and_nothing_is_cut_off() -> None:
    passwords = Passwords(3)
    long = GOOD * 5
    stored = passwords.hash(long)
    assert stored.startswith("$argon2id$v=19$m=19456,t=2,p=1$") and passwords.hash(long) != stored
    assert passwords.verify(stored, long) == Verified(True)
    assert not passwords.verify(stored, long[:-1]).right and not passwords.verify(stored, long + " ").right
    assert not passwords.verify(stored, "").right and not passwords.verify(stored, "x" * 10_000).right
    assert not passwords.verify("no hash", long).right and not passwords.verify("", long).right
    with_null = "a sentence\0with a null in it"
    assert not passwords.verify(passwords.hash(with_null), "a sentence").right


def test_half_characters_are_refused_with_words_and_never_an_error() -> None:
    passwords = Passwords(3)
    assert "no text" in (passwords.weak("correct horse \ud800 battery staple") or "")
    assert (
        not passwords.verify(passwords.hash(GOOD), "\udfff").right
        and not passwords.verify(None, "\ud800").right
    )
    decomposed = "e\u0301" * LONGEST
    assert passwords.verify(passwords._hasher.hash("\xe9" * LONGEST), decomposed).right


def test_one_password_is_one_however_its_letters_are_put_together() -> None:
    passwords = Passwords(3)
    stored = passwords.hash("kräftige Würstchen ﬁnden")
    assert passwords.verify(stored, "kra\u0308ftige Wu\u0308rstchen finden").right


def test_a_hash_is_made_anew_when_the_cost_grows_and_only_for_the_right_password() -> None:
    cheap = PasswordHasher(time_cost=1, memory_cost=8192, parallelism=1).hash(GOOD)
    passwords = Passwords(3)
    found = passwords.verify(cheap, GOOD)
    assert found.right and found.again is not None and passwords.verify(found.again, GOOD) == Verified(True)
    assert passwords.verify(cheap, "something else") == Verified(False)


class Counting(PasswordHasher):
    """Counts how often the work of verifying is done, and that of hashing."""

    verified, hashed = 0, 0

    def hash(self, password: str | bytes, *, salt: bytes | None = None) -> str:
        self.hashed += 1
        return super().hash(password, salt=salt)

    def verify(self, hash: str | bytes, password: str | bytes) -> bool:  # type: ignore[override]  # as argon2-cffi's
        self.verified += 1
        return super().verify(hash, password)


def test_nobody_learns_from_the_work_done_whether_somebody_has_an_account() -> None:
    hasher = Counting(time_cost=1, memory_cost=1024, parallelism=1)
    passwords = Passwords(3, hasher=hasher)
    assert passwords.verify(None, GOOD) == Verified(False) and hasher.verified == 1 and not hasher.hashed
    assert passwords.verify(passwords.hash(GOOD), "another one") == Verified(False) and hasher.verified == 2


def breached(folder: Path, *passwords: str) -> Path:
    """A list as it is published, with other hashes around."""
    digests = {hashlib.sha1(word.encode(), usedforsecurity=False).hexdigest().upper() for word in passwords}
    digests |= {hashlib.sha1(b"%d" % n, usedforsecurity=False).hexdigest().upper() for n in range(3000)}
    path = folder / "breached.txt"
    path.write_text("".join(f"{digest}:{n}\n" for n, digest in enumerate(sorted(digests))))
    return path


@pytest.mark.parametrize(
    "wrong", ["by how often", "small letters", "another hash", "no list", "one line twice"]
)
def test_a_file_that_is_no_list_of_this_kind_is_refused(tmp_path: Path, wrong: str) -> None:
    path = breached(tmp_path, GOOD)
    lines = path.read_text().splitlines()
    made = {
        "by how often": lines[::-1],
        "small letters": [line.lower() for line in lines],
        "another hash": [line[8:] for line in lines],
        "no list": ["password"] * 100,
        "one line twice": [lines[0]] * 2,
    }[wrong]
    path.write_text("\n".join(made))
    with pytest.raises(KeptError, match="SHA-1 in capitals"):
        BreachedFile(path)


def test_what_was_stolen_elsewhere_is_refused_without_telling_the_list_which_it_is(tmp_path: Path) -> None:
    there = BreachedFile(breached(tmp_path, GOOD, "zebra crossing at noon"))
    assert GOOD in there and "another horse battery staple" not in there
    assert all(str(n) in there for n in range(0, 3000, 17)) and "3000" not in there
    asked: list[str] = []

    def ranges(prefix: str) -> object:
        asked.append(prefix)
        return there(prefix)

    assert is_breached(GOOD, ranges) and [len(one) for one in asked] == [5]  # type: ignore[arg-type]  # it iterates
    passwords = Passwords(3, breached=there.__contains__)
    assert (
        "stolen" in str(passwords.weak(GOOD)) and passwords.weak("a lantern under the seventh bridge") is None
    )
    there.close()


def test_the_first_and_last_line_of_a_list_are_found(tmp_path: Path) -> None:
    path = tmp_path / "two.txt"
    words = sorted(
        ("alpha", "omega"), key=lambda w: hashlib.sha1(w.encode(), usedforsecurity=False).hexdigest()
    )
    lines = [hashlib.sha1(w.encode(), usedforsecurity=False).hexdigest().upper() for w in words]
    path.write_text("\n".join(f"{line}:1" for line in lines))
    there = BreachedFile(str(path))
    assert all(word in there for word in words) and "beta" not in there
    there.close()
    with pytest.raises(KeptError):
        BreachedFile(tmp_path / "missing.txt")


@pytest.mark.parametrize(
    ("text", "scheme", "enough"),
    [
        (f"$argon2id$v=19$m=19456,t=2,p=1${SALT}${DIGEST}", "argon2id", True),
        (f"argon2$argon2id$v=19$m=102400,t=2,p=8${SALT}${DIGEST}", "argon2id", True),
        (f"$argon2id$v=19$m=19456,t=1,p=1${SALT}${DIGEST}", "argon2id", False),
        (f"$argon2id$v=19$m=512,t=9,p=1${SALT}${DIGEST}", "argon2id", False),
        (f"$scrypt$ln=17,r=8,p=1${SALT}${DIGEST}", "scrypt", True),
        (f"$scrypt$ln=14,r=8,p=1${SALT}${DIGEST}", "scrypt", False),
        (f"scrypt:32768:8:3${SALT}${DIGEST * 2}", "scrypt", True),
        (f"scrypt:32768:8:1${SALT}${DIGEST * 2}", "scrypt", False),
        ("$2b$12$" + "N" * 53, "bcrypt", True),
        ("bcrypt_sha256$$2b$12$" + "N" * 53, "bcrypt", True),
        ("$2y$09$" + "N" * 53, "bcrypt", False),
        (f"pbkdf2_sha256$600000${SALT}${DIGEST}", "pbkdf2", True),
        (f"$pbkdf2-sha512$210000${SALT}${DIGEST}", "pbkdf2", True),
        (f"pbkdf2:sha256:260000${SALT}${DIGEST}", "pbkdf2", False),
        (f"pbkdf2_sha1$600000${SALT}${DIGEST}", "pbkdf2", False),
    ],
)
def test_each_sort_of_hash_is_told_with_its_cost(text: str, scheme: str, enough: bool) -> None:
    found = recognised(text)
    assert found is not None and (found.scheme, found.enough) == (scheme, enough)


@pytest.mark.parametrize(
    "text",
    [
        "correct horse battery staple",
        hashlib.sha256(b"x").hexdigest(),
        hashlib.md5(b"x", usedforsecurity=False).hexdigest(),
        base64.b64encode(b"x" * 32).decode(),
        "$argon2id$v=19$m=19456,t=2,p=1$salt$short",
        "$argon2id$v=19$m=19456,t=2,p=1$" + DIGEST,
        f"$argon2i$v=19$m=65536,t=3,p=4${SALT}${DIGEST}",
        f"$argon2d$v=19$m=65536,t=3,p=4${SALT}${DIGEST}",
        "$2b$12$too-short",
        "$1$salt$" + "a" * 22,
        f"$5$rounds=5000${SALT}${DIGEST}",
        "",
    ],
)
def test_whatever_else_stands_there_is_no_slow_hash(text: str) -> None:
    assert recognised(text) is None
