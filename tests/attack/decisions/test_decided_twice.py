"""Two people decide at once, or one decides twice: one decision stands, once on record, carried out once."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from kept.controls.purposes.decisions import queue
from kept.errors import KeptError
from tests.acceptance.company import ROOT
from tests.acceptance.decided import Bazaar, bazaar, carried, decide, entries, renaming


def test_a_second_decision_by_somebody_else_is_told_of_the_first(tmp_path: Path) -> None:
    made = bazaar(tmp_path / "bazaar")
    with made.opened() as company:
        id = renaming(company)
        decide(company, id)
        for answer, role, by in (
            ("no", "trust:4", "Robin Reed"),
            ("yes", "trust:5", "Kim Alder"),
            ("no", "trust:5", "Kim Alder"),
        ):
            with pytest.raises(KeptError, match="isn't open any more: accepted by Robin Reed"):
                decide(company, id, answer, role, by)  # type: ignore[arg-type]  # either
        assert decide(company, id).state == queue.ACCEPTED


def test_of_two_in_one_process_one_decides(tmp_path: Path) -> None:
    made = bazaar(tmp_path / "bazaar")
    names = ("Robin Reed", "Kim Alder", "Ada Birch", "Noor Elm")
    with made.opened() as company:
        ids = [renaming(company, who, f"Name {who}") for who in range(1, 6)]
        won: list[tuple[str, str]] = []
        for id in ids:
            gate = threading.Barrier(len(names))

            def one(name: str, id: str = id, gate: threading.Barrier = gate) -> None:
                gate.wait()
                try:
                    decide(company, id, "yes" if name < "M" else "no", by=name)
                except KeptError:
                    return
                won.append((id, name))

            threads = [threading.Thread(target=one, args=(name,)) for name in names]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert sorted(id for id, _ in won) == sorted(ids)
        assert {(one["proposal"], one["by"]) for one in entries(company, "decide")} == set(won)
        assert {(id, queue.one(company, id).decided_by) for id in ids} == set(won)


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_of_two_processes_one_decides_and_one_carries_out(
    tmp_path: Path, kind: str, request: pytest.FixtureRequest
) -> None:
    made = bazaar(tmp_path / "bazaar")
    if kind == "postgresql":
        with (made.folder / ".env").open("a") as settings:
            settings.write(f"KEPT_STATE_URL={request.getfixturevalue('fresh_postgresql')}\n")
    with made.opened() as company:
        id = renaming(company)
    answers = {"Robin Reed": "yes", "Kim Alder": "no", "Ada Birch": "yes"}
    running = [_deciding(made, id, answer, name) for name, answer in answers.items()]
    codes = [process.wait(120) for process in running]
    assert sorted(codes) == [0, 2, 2]
    [winner] = [name for name, code in zip(answers, codes, strict=True) if code == 0]
    with made.opened() as company:
        found = queue.one(company, id)
        assert found.decided_by == winner and found.told is not None
        [entry] = entries(company, "decide")
        assert (entry["by"], entry["answer"]) == (winner, answers[winner])
        assert len(entries(company, "decided")) == (answers[winner] == "yes")
    assert made.name(1) == ("Lamps" if answers[winner] == "yes" else "Shop 1")


def _deciding(made: Bazaar, id: str, answer: str, name: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "kept", "decide", answer, id, "--as", "trust:4", "--by", name],
        cwd=ROOT,
        env={"KEPT_DIR": str(made.folder), "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_of_two_decisions_about_the_same_at_once_one_waits(
    tmp_path: Path, kind: str, request: pytest.FixtureRequest
) -> None:
    made = bazaar(tmp_path / "bazaar")
    if kind == "postgresql":
        with (made.folder / ".env").open("a") as settings:
            settings.write(f"KEPT_STATE_URL={request.getfixturevalue('fresh_postgresql')}\n")
    with made.opened() as company:
        ids = [renaming(company, name=name) for name in ("Lamps", "Bulbs", "Candles")]
        gate, won = threading.Barrier(len(ids)), list[str]()

        def one(id: str) -> None:
            gate.wait()
            try:
                decide(company, id)
            except KeptError:
                return
            won.append(id)

        threads = [threading.Thread(target=one, args=(id,)) for id in ids]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(won) == 1
    assert carried(made, *won) == [None]
