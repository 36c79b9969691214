"""`kept verify` on a good bundle and on every tampered one: exit codes, and the entry named."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from kept.cli.main import main
from kept.evidence.keys import Keys
from tests.attack.ledger.make_bundles import FORKS, TAMPERS, write_all
from tests.attack.ledger.test_tampered_bundles import EXPECTED


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundles")
    write_all(folder)
    return folder


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["kept", *arguments])
    try:
        main()
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


def test_a_good_bundle_exits_with_0(
    bundles: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    key = Keys.open(bundles / "keys").public.hex()
    assert run(monkeypatch, "verify", str(bundles / "good.zip"), "--key", key) == 0
    assert capsys.readouterr().out.startswith("good: 40 entries, unaltered")


@pytest.mark.parametrize("name", [*TAMPERS, *FORKS])
def test_a_tampered_bundle_exits_with_1_and_names_the_entry(
    name: str, bundles: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    key = Keys.open(bundles / "keys").public.hex()
    code = run(
        monkeypatch,
        "verify",
        str(bundles / f"{name}.zip"),
        "--key",
        key,
        "--since",
        str(bundles / "good.zip"),
    )
    assert code == 1
    assert re.search(EXPECTED[name][2], capsys.readouterr().err)


def test_a_file_that_is_no_bundle_is_said_to_be_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "x.zip").write_text("not a zip")
    assert run(monkeypatch, "verify", str(tmp_path / "x.zip")) == 1
    assert "Traceback" not in capsys.readouterr().err
