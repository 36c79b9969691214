"""The stand-ins that are shipped run from the command line, as their help says."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from kept.stores.records.access import read_access
from kept.stores.records.http import HTTPStore, Partner
from kept.stores.records.hubspot import ADDRESS, HubSpotStore

SOURCES = Path(__file__).parents[2] / "src"


@contextmanager
def running(module: str, *arguments: str, lines: int) -> Iterator[list[str]]:
    """The stand-in in a process of its own; the lines it prints."""
    command = [sys.executable, "-m", f"kept.testing.{module}", "--port", "0", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={"PYTHONPATH": str(SOURCES)})
    assert process.stdout is not None
    try:
        yield [process.stdout.readline().strip() for _ in range(lines)]
    finally:
        process.terminate()
        process.wait(10)
        process.stdout.close()


def test_hubspot_runs_with_the_records_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "crm.json"
    file.write_text(
        json.dumps({"contacts": [{"id": "7", "properties": {"email": "a@example.org"}}]}), "utf-8"
    )
    with running("hubspot", str(file), lines=1) as (setting,):
        store = HubSpotStore("crm", read_access("crm", setting, ADDRESS))
        assert store.find("email", ["A@example.org"]) == {"A@example.org": ("7",)}
        store.dispose()


def test_a_partner_runs_and_tells_its_key() -> None:
    key = Ed25519PrivateKey.generate()
    ours = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw).hex()
    with running("opendsr", "--controller", ours, lines=2) as (address, signed_by):
        partner = Partner({"email": "email"}, signed_by)
        store = HTTPStore("parcels", read_access("parcels", address), partner, key.sign)
        assert store.erase("email:a@example.org", act="r1").deleted == {}
        store.dispose()
