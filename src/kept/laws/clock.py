"""The clock of one request under one law: when it starts, stands still, may be lengthened, and runs out.

Days are counted as Regulation (EEC, Euratom) 1182/71, Art. 3, counts them: the day of the event is not one of them,
and the last ends at its midnight in the company's time zone. Where a last day that is a Saturday, a Sunday or a holiday
may be moved to the next working day (Art. 3(4)), it is not moved here: an answer by this clock is never late.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Final

from kept.laws.law import law as read_law
from kept.laws.period import Period
from kept.laws.workdays import BusinessDays

LEFT: Final = (0.5, 0.25)  # warned when so much of the time is left, and a day before the end


@dataclass(frozen=True)
class Pause:
    """The person was asked what they mean; `answered` is None while they haven't said."""

    asked: datetime
    answered: datetime | None = None

    def __post_init__(self) -> None:
        _zoned(self.asked, self.answered)


@dataclass(frozen=True)
class Times:
    """What happened to a request, as far as its clock cares; every time has a zone.

    `identified`: when it was certain who asks (a law may start its clock there; where nobody doubted it, that is
    `received`). A fee that was asked for counts as a part of it. `extended`: when the person was told, with reasons,
    that it takes longer.
    """

    received: datetime
    identified: datetime | None = None
    pauses: tuple[Pause, ...] = ()
    extended: datetime | None = None

    def __post_init__(self) -> None:
        _zoned(self.received, self.identified, self.extended)


def starts(law: str, times: Times) -> datetime | None:
    """When the clock starts; None while it hasn't."""
    if read_law(law).requests.starts == "identified":
        return None if times.identified is None else max(times.received, times.identified)
    return times.received


def due(law: str, right: str, times: Times, zone: tzinfo) -> datetime | None:
    """When the answer is due, UTC: the midnight after the last day in `zone`; the instant itself is too late.

    None while the clock hasn't started or stands still, and where the law sets no figure (see `figure`). An extension
    counts only where `extended` lies inside the first period.
    """
    last = _last(law, right, times, zone, _is_extended(law, right, times, zone))
    return None if last is None else _midnight_after(last, zone)


def first_due(law: str, right: str, times: Times, zone: tzinfo) -> datetime | None:
    """The end of the first period: until then the answer may be extended, if it may be at all."""
    last = _last(law, right, times, zone, extended=False)
    return None if last is None else _midnight_after(last, zone)


def confirm_by(law: str, right: str, times: Times, zone: tzinfo) -> datetime | None:
    """When receipt is confirmed to the person at the latest; None where the law doesn't ask for it."""
    confirm = read_law(law).requests.confirm
    if confirm is None or right not in confirm.rights:
        return None
    received = _day(times.received, zone)
    return _midnight_after(confirm.within.after(received - timedelta(days=confirm.first_day)), zone)


def warnings(start: datetime, end: datetime) -> tuple[datetime, ...]:
    """When to warn that an answer is due at `end`, in order: with half of the time left, a quarter, and a day before.

    `start` is when the running period began: once extended, the extension.
    """
    moments = {end - (end - start) * left for left in LEFT} | {end - timedelta(days=1)}
    return tuple(sorted(at.astimezone(UTC) for at in moments if at > start))


def paused(law: str, right: str, times: Times) -> bool:
    """Whether the clock stands still now, because the person was asked what they mean and hasn't said."""
    return right in read_law(law).requests.pauses and any(pause.answered is None for pause in times.pauses)


def may_extend(law: str, right: str, times: Times, zone: tzinfo, now: datetime, reason: str) -> str | None:
    """Why a request may not be extended now, as a sentence for staff; None when it may.

    Once only, inside the first period, with a reason that the person is told: GDPR Art. 12(3), UK GDPR
    Art. 12A(3) and (4), Cal. Civ. Code § 1798.130(a)(2)(A).
    """
    given = read_law(law).rights.get(right)
    if right in read_law(law).requests.opt_outs or given is None or given.extension is None:
        return f"{read_law(law).name} gives no extension for this right"
    if times.extended is not None:
        return "it was extended before"
    if not reason.strip():
        return "an extension needs a reason, which the person is told"
    end = first_due(law, right, times, zone)
    if end is not None and now >= end:
        return f"the first period ({given.clock}) is over"
    return None


def figure(law: str, right: str) -> Period | BusinessDays | None:
    """How long a law gives for answering; None where it sets no figure."""
    given = read_law(law)
    if right in given.requests.opt_outs:
        return given.requests.opt_outs[right].within
    return given.rights[right].clock if right in given.rights else None


def needs_identity(law: str, right: str) -> bool:
    """Whether the person may be asked to prove who they are: not for an opt-out (11 CCR 7060(b))."""
    return right not in read_law(law).requests.opt_outs


def records_until(laws: Sequence[str], closed: datetime, zone: tzinfo) -> datetime | None:
    """Until when it must be provable what was asked and answered; None where no law of these says."""
    ends = [
        records.end(closed, zone) for law in laws if (records := read_law(law).requests.records) is not None
    ]
    return max(ends, default=None)


def strictest(laws: Sequence[str], right: str, times: Times, zone: tzinfo) -> str | None:
    """The law that is due first, of those that set a figure; one whose clock runs comes before one whose doesn't.

    None where none of them sets a figure.
    """
    never = datetime.max.replace(tzinfo=UTC)
    with_figure = [law for law in laws if figure(law, right) is not None]
    return min(with_figure, key=lambda law: due(law, right, times, zone) or never, default=None)


def _is_extended(law: str, right: str, times: Times, zone: tzinfo) -> bool:
    if times.extended is None:
        return False
    # An answer still awaited when the extension was told ends its pause no earlier than now: the extension was in time.
    first = _last(law, right, times, zone, extended=False)
    return first is None or times.extended < _midnight_after(first, zone)


def _last(law: str, right: str, times: Times, zone: tzinfo, extended: bool) -> date | None:
    """The last day of the period. An extension is counted from the end of the first period, the stricter reading."""
    start, length = starts(law, times), figure(law, right)
    if start is None or length is None:
        return None
    last = length.after(_day(start, zone))
    given = read_law(law).rights.get(right)
    if extended and given is not None and given.extension is not None:
        last = given.extension.after(last)
    if right not in read_law(law).requests.pauses:
        return last
    return _moved(last, times.pauses, _day(start, zone), zone)


def _moved(last: date, pauses: Sequence[Pause], start: date, zone: tzinfo) -> date | None:
    """The last day with those left out on which the clock stands still; None where it still does.

    UK GDPR Art. 12A(5)(b): each day counts for nothing from that of asking to that of the answer, both included. A
    pause that begins when the time is over changes nothing, and the day of the start isn't counted to begin with.
    """
    still = {
        _day(pause.asked, zone) + timedelta(days=number)
        for pause in pauses
        if pause.answered is not None
        for number in range((_day(pause.answered, zone) - _day(pause.asked, zone)).days + 1)
    }
    waiting = min((_day(pause.asked, zone) for pause in pauses if pause.answered is None), default=date.max)
    for day in sorted(day for day in still if start < day < waiting):
        if day > last:
            break
        last += timedelta(days=1)
    return None if waiting <= last else last


def _zoned(*times: datetime | None) -> None:
    """A time without a zone would be taken for one of the machine's, and a day be counted wrong."""
    if any(at is not None and at.tzinfo is None for at in times):
        raise ValueError("the times of a request have a zone")


def _day(at: datetime, zone: tzinfo) -> date:
    return at.astimezone(zone).date()


def _midnight_after(day: date, zone: tzinfo) -> datetime:
    day += timedelta(days=1)
    return datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)
