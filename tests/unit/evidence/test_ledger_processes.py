"""Several processes on one ledger, killed and starved: what was said to be written is there, once, in one
tree."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kept.evidence.bundle import verify_bundle
from kept.evidence.keys import Keys
from kept.evidence.ledger import Ledger
from kept.evidence.merkle import Frontier, leaf_hash

APPENDS = """
import sys, threading
from pathlib import Path
from kept.errors import TransientError
from kept.evidence.keys import Keys
from kept.evidence.ledger import Ledger

def patiently(act):
    # one writer may keep another out for a while; the same call then succeeds later
    for _ in range(10):
        try:
            return act()
        except TransientError:
            pass
    return act()

place, folder, name = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
count, threads = int(sys.argv[4]), int(sys.argv[5])
ledger = patiently(lambda: Ledger.open(place, Keys.open(folder / "keys")))
said = (folder / f"{name}.said").open("wb", buffering=0)

def run(thread):
    for n in range(count):
        key = f"{name}-{thread}-{n}"
        index = patiently(lambda: ledger.append({"act": "a", "key": key}, key))
        said.write(f"{index} {key}\\n".encode())

running = [threading.Thread(target=run, args=(thread,)) for thread in range(threads)]
for one in running:
    one.start()
for one in running:
    one.join()
"""
FULL = """
import resource, signal, sys
from pathlib import Path
from kept.errors import TransientError
from kept.evidence.keys import Keys
from kept.evidence.ledger import Ledger

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
folder = Path(sys.argv[1])
ledger = Ledger.open(folder / "ledger.sqlite", Keys.open(folder / "keys"))
ledger.append({"act": "before"})
limit = max(path.stat().st_size for path in folder.glob("ledger.sqlite*")) + 4096
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
try:
    ledger.append_many([(None, {"act": "a", "fill": "x" * 1000}) for _ in range(500)])
except TransientError as error:
    print(error.message)
print(ledger.size)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
print(ledger.append({"act": "after"}))
"""
ENVIRONMENT = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}


def _start(place: str, folder: Path, name: str, count: int, threads: int = 1) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", APPENDS, place, str(folder), name, str(count), str(threads)]
    return subprocess.Popen(command, env=ENVIRONMENT)


def _check(place: str, folder: Path) -> int:
    """Whatever a process was told is there at its index, each key once; stored bytes make the signed root."""
    with Ledger.open(place, Keys.open(folder / "keys")) as ledger:
        head = ledger.head()
        frontier = Frontier()
        for body, leaf in ledger.stored():
            assert leaf_hash(body) == leaf
            frontier.push(leaf)
        assert (frontier.size, frontier.root().hex()) == (head.size, head.root)
        entries = [entry["key"] for entry in ledger.entries()]
        assert len(set(entries)) == len(entries)
        for path in folder.glob("*.said"):
            for line in path.read_text().splitlines(keepends=True):
                if line.endswith("\n"):
                    index, key = line.split()
                    assert entries[int(index)] == key
        assert ledger.append({"act": "a", "key": f"next-{head.size}"}) == head.size
        ledger.export(folder / "bundle.zip")
    assert verify_bundle(folder / "bundle.zip").size == head.size + 1
    return head.size


def test_four_processes_that_start_and_append_at_once_build_one_tree(place: str, tmp_path: Path) -> None:
    children = [_start(place, tmp_path, f"p{n}", 60, threads=2) for n in range(4)]
    assert [child.wait(60) for child in children] == [0, 0, 0, 0]
    assert _check(place, tmp_path) == 480


@pytest.mark.parametrize("run", range(3))
def test_a_kill_in_the_middle_of_appends_loses_nothing_that_was_said_to_be_written(
    place: str, tmp_path: Path, run: int
) -> None:
    children = [_start(place, tmp_path, f"r{run}p{n}", 100_000, threads=3) for n in range(2)]
    said = [tmp_path / f"r{run}p{n}.said" for n in range(2)]
    until = time.monotonic() + 30
    while not all(path.exists() and path.stat().st_size > 500 for path in said) and time.monotonic() < until:
        time.sleep(0.005)
    time.sleep(0.03 * run)
    for child in children:
        child.send_signal(signal.SIGKILL)
        assert child.wait(10) == -signal.SIGKILL
    told = sum(path.read_text().count("\n") for path in said)
    assert told > 20
    assert _check(place, tmp_path) >= told


def test_a_disk_that_takes_no_more_is_transient_and_writes_nothing(tmp_path: Path) -> None:
    """The operating system refuses the write itself, as on a full disk or over a quota."""
    command = [sys.executable, "-c", FULL, str(tmp_path)]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines() in (
        ["the disk could not be written or read", "1", "1"],
        ["the disk is full", "1", "1"],
    ), done.stderr
