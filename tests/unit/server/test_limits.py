"""How often something may be asked: evenly regained, told apart by source, bounded in memory."""

from __future__ import annotations

from kept.server.limits import Limiter, Rate


class Time:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_so_many_may_be_asked_at_once_and_then_as_many_as_are_regained() -> None:
    time = Time()
    limiter = Limiter(Rate(3, 30), time)
    assert [limiter.takes("a") for _ in range(5)] == [True, True, True, False, False]
    time.now = 9.9
    assert not limiter.takes("a")
    time.now = 10.0
    assert [limiter.takes("a"), limiter.takes("a")] == [True, False]
    time.now = 1e6
    assert [limiter.takes("a") for _ in range(4)] == [True, True, True, False]


def test_one_source_does_not_use_up_what_another_may_ask() -> None:
    limiter = Limiter(Rate(1, 60), Time())
    assert limiter.takes("a") and limiter.takes("b")
    assert not limiter.takes("a") and not limiter.takes("b")


def test_only_so_many_sources_are_remembered_and_the_busy_one_is_not_forgotten() -> None:
    limiter = Limiter(Rate(1, 60), Time(), known=10)
    assert limiter.takes("busy")
    for number in range(1000):
        assert limiter.takes(f"source {number}")
        assert not limiter.takes("busy")
    assert len(limiter._left) == 10
