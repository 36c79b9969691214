"""Keys: made once, readable by their owner only, and refused when damaged."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from kept.errors import KeptError
from kept.evidence.keys import FILE, Keys


def test_keys_are_made_once_and_are_the_same_ever_after(tmp_path: Path) -> None:
    first = Keys.open(tmp_path / "keys")
    again = Keys.open(tmp_path / "keys")
    assert first.public == again.public
    assert first.index("user:1") == again.index("user:1") != first.index("user:2")
    assert again.unseal("request", first.seal("request", b"user:1")) == b"user:1"


def test_only_their_owner_can_read_them(tmp_path: Path) -> None:
    Keys.open(tmp_path / "keys")
    assert stat.S_IMODE((tmp_path / "keys").stat().st_mode) == 0o700
    assert [path.name for path in (tmp_path / "keys").iterdir()] == [FILE]
    assert stat.S_IMODE((tmp_path / "keys" / FILE).stat().st_mode) == 0o600


def test_keys_that_others_may_read_are_refused(tmp_path: Path) -> None:
    Keys.open(tmp_path)
    (tmp_path / FILE).chmod(0o640)
    with pytest.raises(KeptError, match=r"others than its owner may read the keys \(mode 0640\)"):
        Keys.open(tmp_path)


@given(st.data())
def test_a_damaged_file_of_keys_is_refused_whatever_the_damage(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("keys")
    Keys.open(folder)
    whole = (folder / FILE).read_bytes()
    if data.draw(st.booleans()):
        broken = bytearray(whole[: data.draw(st.integers(0, len(whole) - 1))])
    else:
        bit = data.draw(st.integers(0, len(whole) * 8 - 1))
        broken = bytearray(whole)
        broken[bit // 8] ^= 1 << bit % 8
    (folder / FILE).write_bytes(broken)
    with pytest.raises(KeptError, match="damaged") as raised:
        Keys.open(folder)
    assert whole.split()[3].decode() not in str(raised.value)


def test_many_who_open_at_once_get_the_same_keys(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        opened = list(pool.map(lambda _: Keys.open(tmp_path / "keys").public, range(32)))
    assert len(set(opened)) == 1
    assert [path.name for path in (tmp_path / "keys").iterdir()] == [FILE]


def test_a_folder_that_cannot_be_written_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(KeptError, match="the keys can't be read or made"):
        Keys.open(tmp_path / "file" / "keys")


def test_a_signature_is_checked_with_the_public_half(tmp_path: Path) -> None:
    keys = Keys.open(tmp_path)
    Ed25519PublicKey.from_public_bytes(keys.public).verify(keys.sign(b"said"), b"said")


def test_what_is_sealed_opens_only_unaltered_and_for_its_purpose(tmp_path: Path) -> None:
    keys, others = Keys.open(tmp_path / "a"), Keys.open(tmp_path / "b")
    sealed = keys.seal("request", b"anna@example.org")
    assert b"anna" not in sealed
    assert sealed != keys.seal("request", b"anna@example.org")
    for holder, purpose, value in (
        (keys, "mail", sealed),
        (others, "request", sealed),
        (keys, "request", sealed[:-1]),
        (keys, "request", b""),
        (keys, "request", bytes([sealed[0] ^ 1]) + sealed[1:]),
    ):
        with pytest.raises(KeptError, match="can't be opened"):
            holder.unseal(purpose, value)


def test_keys_never_show_their_secrets(tmp_path: Path) -> None:
    keys = Keys.open(tmp_path)
    secrets = [line.split()[1] for line in (tmp_path / FILE).read_text().splitlines()[1:]]
    assert not any(secret in repr(keys) for secret in secrets)
