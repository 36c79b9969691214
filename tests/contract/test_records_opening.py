"""A store that is not SQL is opened from its entry in the policy file, and no setting shows."""

from __future__ import annotations

import traceback
from pathlib import Path

import pytest

from kept.errors import TerminalError
from kept.policy.facts import DeclaredStore
from kept.stores.records.access import Access, read_access
from kept.stores.records.opening import open_files, open_records
from tests.contract.records.worlds import HubSpotWorld, PartnerWorld
from tests.declared import declared as policy


def declared(entry: str) -> DeclaredStore:
    return policy(f"stores: {{other: {{{entry}}}}}\n").stores["other"]


def sign(_: bytes) -> bytes:
    return b""


def test_hubspot_is_opened_with_the_setting_the_file_names() -> None:
    world = HubSpotWorld()
    with world.server:
        ada = world.person("ada@example.org")
        settings = {"CRM": world.server.address.replace("://", f"://{world.server.token}@")}
        store = open_records(declared("at: $CRM, kind: hubspot"), settings, sign=sign)
        assert store.existing([ada]) == {ada}
        store.dispose()


def test_a_partner_is_opened_as_the_file_describes_it() -> None:
    world = PartnerWorld()
    with world.server:
        ada = world.person("ada@example.org")
        entry = (
            "at: $PARCELS, kind: http, identities: {email: email}, signed-by: $PARCELS_KEY, answers: callback"
        )
        settings = {"PARCELS": world.server.address, "PARCELS_KEY": world.server.public_key}
        store = open_records(
            declared(entry), settings, sign=world.key.sign, callback="http://127.0.0.1:9/callbacks"
        )
        assert store.erase(ada, act="r1").deleted == {"people": 1}
        store.dispose()
        with pytest.raises(TerminalError, match="no address of its own"):
            open_records(declared(entry), settings, sign=world.key.sign)
        with pytest.raises(TerminalError, match="PARCELS_KEY is missing"):
            open_records(
                declared(entry), {"PARCELS": world.server.address}, sign=sign, callback="http://127.0.0.1:9/"
            )


def test_the_vendors_address_is_the_one_used_where_the_setting_is_a_token_alone() -> None:
    for kind, address in (("hubspot", "https://api.hubapi.com"), ("stripe", "https://api.stripe.com")):
        store = open_records(declared(f"at: $T, kind: {kind}"), {"T": "pat-1"}, sign=sign)
        assert vars(store)["_client"].access.base == address
        store.dispose()


def test_a_folder_is_opened_relative_to_the_companys_own(tmp_path: Path) -> None:
    (tmp_path / "uploads").mkdir()
    (tmp_path / "uploads" / "a").write_bytes(b"x")
    for text in ("uploads", str(tmp_path / "uploads"), f"file://{tmp_path / 'uploads'}"):
        store = open_files(declared("at: $U, kind: files"), {"U": text}, tmp_path)
        assert store.size("a") == 1
    with pytest.raises(TerminalError, match="U is missing"):
        open_files(declared("at: $U, kind: files"), {}, tmp_path)
    with pytest.raises(TerminalError, match="folder can't be read"):
        open_files(declared("at: $U, kind: files"), {"U": "s3://bucket"}, tmp_path)


def test_a_store_of_another_kind_has_no_records() -> None:
    with pytest.raises(TerminalError, match="no records"):
        open_records(declared("at: $U, kind: sheet"), {"U": "x"}, sign=sign)


@pytest.mark.parametrize(
    "setting",
    [
        "https://example.org",  # no token
        "http://tokensecret@example.org",  # unencrypted
        "https://tokensecret:word@example.org",
        "ftp://tokensecret@example.org",
        "https://tokensecret@",
        "https://tokensecret@example.org:port",
        "https://tokensecret@example.org/?x=1",
        "tokensecret\r\nX-Injected: 1",
        "token secret",
        "tökensecret",
        "",
    ],
)
def test_a_setting_that_can_not_be_meant_is_refused_without_repeating_it(setting: str) -> None:
    with pytest.raises(TerminalError) as raised:
        read_access("crm", setting, "https://api.example.org")
    assert "secret" not in "".join(traceback.format_exception(raised.value)).replace(repr(setting), "")
    assert raised.value.help


def test_a_setting_may_name_another_address_and_quote_its_token() -> None:
    access = read_access("crm", "https://a%2Fb%40c@sandbox.example.org:8443/api/", "https://api.example.org")
    assert access == Access("https://sandbox.example.org:8443/api", "a/b@c")
    assert access.origin == "https://sandbox.example.org:8443"
    assert "a/b@c" not in repr(access)
    assert read_access("crm", "http://t@[::1]:80", "https://x.example").base == "http://[::1]:80"
    assert read_access("crm", "http://localhost:1").loopback
    assert not read_access("crm", "https://127.0.0.1.example.org").loopback
