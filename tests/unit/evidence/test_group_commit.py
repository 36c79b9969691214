"""Group commit: nobody waits for nothing, nobody waits forever."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from kept.errors import TransientError
from kept.evidence.group_commit import GroupCommit

CHILD = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}


def test_a_caller_alone_commits_on_its_own_thread() -> None:
    threads: list[threading.Thread] = []

    def commit(items: Sequence[int]) -> Sequence[int]:
        threads.append(threading.current_thread())
        return [item * 2 for item in items]

    group = GroupCommit(commit)
    assert [group.submit(n) for n in range(3)] == [0, 2, 4]
    assert set(threads) == {threading.current_thread()}


def test_everybody_gets_their_own_result_whoever_commits() -> None:
    sizes: list[int] = []

    def commit(items: Sequence[int]) -> Sequence[int]:
        sizes.append(len(items))
        return [item + 1 for item in items]

    group = GroupCommit(commit)
    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(group.submit, range(5_000))) == list(range(1, 5_001))
    assert sum(sizes) == 5_000


@pytest.mark.parametrize("error", [ValueError("full"), KeyboardInterrupt()])
def test_an_error_reaches_those_it_is_for_and_the_next_batch_goes_on(error: BaseException) -> None:
    started, go = threading.Event(), threading.Event()
    batches: list[int] = []

    def commit(items: Sequence[int]) -> Sequence[int]:
        batches.append(len(items))
        started.set()
        assert go.wait(10)
        if 1 in items:
            raise error
        return items

    group = GroupCommit(commit)
    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(group.submit, 1)
        assert started.wait(10)
        others = [pool.submit(group.submit, n) for n in (2, 3, 4)]
        while len(group._queue) < 3:
            pass
        go.set()
        assert first.exception() is error
        assert sorted(other.result() for other in others) == [2, 3, 4]
    assert batches == [1, 3]


@pytest.mark.parametrize(
    ("error", "seen"), [(ValueError("full"), ValueError), (KeyboardInterrupt(), TransientError)]
)
def test_who_waited_for_a_failed_commit_gets_an_error_of_its_own(
    error: BaseException, seen: type[Exception]
) -> None:
    started, go = threading.Event(), threading.Event()

    def commit(items: Sequence[int]) -> Sequence[int]:
        if len(items) > 1:
            raise error
        started.set()
        assert go.wait(10)
        return items

    group = GroupCommit(commit)
    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(group.submit, 1)
        assert started.wait(10)
        others = [pool.submit(group.submit, n) for n in (2, 3, 4)]
        while len(group._queue) < 3:
            pass
        go.set()
        errors = [other.exception() for other in others]
        assert first.result() == 1
    assert sum(one is error for one in errors) == 1
    assert sum(isinstance(one, seen) and one is not error for one in errors) == 2
    assert group.submit(5) == 5


def test_who_gives_up_waiting_neither_blocks_nor_is_committed() -> None:
    """Ctrl-C comes to the main thread while it waits behind another's commit."""
    script = textwrap.dedent("""
        import os, signal, threading, time
        from kept.evidence.group_commit import GroupCommit

        started, go, seen = threading.Event(), threading.Event(), []

        def commit(items):
            seen.extend(items)
            started.set()
            go.wait(10)
            return items

        group = GroupCommit(commit)
        leader = threading.Thread(target=group.submit, args=("first",))
        leader.start()
        started.wait(10)

        def interrupt():
            while not group._queue:
                time.sleep(0.01)
            os.kill(os.getpid(), signal.SIGINT)

        threading.Thread(target=interrupt).start()
        try:
            group.submit("second")
        except KeyboardInterrupt:
            go.set()
            leader.join()
            group.submit("third")
            print(seen)
    """)
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, env=CHILD)
    assert done.stdout == "['first', 'third']\n", done.stderr
