"""The thread beside the pages: every few seconds it does what is due, and it outlives every error.

What came in by form and e-mail is looked at, requests go on, letters are sent, the mailbox is emptied. The company's
workflows are open only while there is work, so that commands and other processes get their turn.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from kept.company import Company
from kept.controls.acts import kinds
from kept.controls.choices.messages import due
from kept.controls.choices.records.book import whole_ledger
from kept.controls.choices.records.lapses import lapse
from kept.controls.collection.persons.verified import tidy
from kept.controls.purposes.cases import recorded
from kept.controls.purposes.cases.opening import end_due
from kept.controls.purposes.decisions import carrying as decisions
from kept.controls.purposes.guard.carrying import Carrying
from kept.controls.purposes.guard.published import publish_due
from kept.controls.rights import intake, register
from kept.controls.rights.desk import Desk
from kept.errors import KeptError
from kept.server.guard import LOG, told
from kept.server.office import Office

TICK: Final = 2.0  # seconds between two looks, where nobody rings
ALL: Final = (
    600.0  # seconds after which everything is looked through, due or not: holds that end, answers that expire
)
MAIL: Final = 60.0  # seconds between two looks into the mailbox
CHOICES: Final = 60.0  # seconds between two looks for yeses that are over
DAY: Final = 86_400.0
FIRST: Final = 5.0  # seconds to wait after a first error, doubled each time
LONGEST: Final = 300.0


@dataclass
class Duty:
    """One thing the worker does: when it is next tried, and how often in a row it failed."""

    name: str
    do: Callable[[], None]
    every: float = 0.0
    at: float = 0.0
    failed: int = 0


class Worker:
    """Does the duties of one company in a thread, until it is stopped."""

    def __init__(
        self, office: Office, tick: float = TICK, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.office = office
        self._tick = tick
        self._clock = clock
        self._stop = threading.Event()
        self._worked = float("-inf")
        self._thread = threading.Thread(target=self._run, name="kept-worker", daemon=True)
        self._carrying = Carrying(lambda: office.company)
        self.duties = [
            Duty("looking at what came in", self._look),
            Duty("working on requests", self._work),
            Duty("asking for second yeses", self._confirm),
            Duty("sending letters", self._send),
            Duty("fetching mail", self._fetch, every=MAIL),
            Duty("ending what lapsed", self._lapse, every=CHOICES),
            Duty("telling the guard's groups", self._publish, every=CHOICES),
            Duty("letting go of what was never used", self._tidy, every=DAY),
        ]

    def start(self) -> None:
        self._thread.start()
        self._carrying.start()

    def stop(self, seconds: float = 60.0) -> bool:
        """Let it end what it is at; False where that took too long. Whatever is cut off goes on at the next start."""
        self._stop.set()
        self._carrying.stop()
        self.office.bell.set()
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while not self._stop.is_set():
            self.once()
            self.office.bell.wait(self._tick)
            self.office.bell.clear()

    def once(self) -> None:
        """Do every duty whose time has come; one that fails waits, and holds up none of the others."""
        for duty in self.duties:
            if self._stop.is_set() or self._clock() < duty.at:
                continue
            try:
                duty.do()
            except KeptError as wrong:
                where = f" ({wrong.where})" if wrong.where else ""
                self._later(duty, f"{wrong.message}{where}")
            except Exception as wrong:  # noqa: BLE001  no error of one duty may end the others; its text stays unsaid
                told(wrong)
                self._later(duty, "a fault of Kept's own")
            else:
                if duty.failed:
                    LOG.info("%s works again", duty.name)
                duty.failed, duty.at = 0, self._clock() + duty.every

    def _later(self, duty: Duty, why: str) -> None:
        after = min(FIRST * (1 << min(duty.failed, 10)), LONGEST)
        duty.failed += 1
        duty.at = self._clock() + after
        LOG.warning("%s failed, and is tried again in %.0f s: %s", duty.name, after, why)

    def _look(self) -> None:
        if not intake.is_due(self.office.company):
            return
        with self.office.fresh() as company:
            done = intake.look(Desk(company, kinds(company)))
            if done:
                LOG.info("looked at what came in: %s", ", ".join(f"{n} {what}" for what, n in done.items()))
            if done.get("waits"):
                LOG.warning("what came in waits: %s", intake.waiting(company).problem)

    def _work(self) -> None:
        now = self._clock()
        everything = now - self._worked >= ALL
        company = self.office.company
        if not everything and not register.is_due(company) and not decisions.is_due(company):
            return
        with self.office.at_work() as (company, workflows):
            result = Desk.at_work(company, workflows).work(patient=True)
        if everything:
            self._worked = now
        if result.requests:
            closed = sum(not one.is_open for one in result.requests)
            LOG.info("worked on %d requests, %d of them are closed", len(result.requests), closed)
        if result.problem is not None:
            LOG.warning("not done: %s (`kept request list` says which)", _line(result.problem))

    def _send(self) -> None:
        company = self.office.company
        if not company.can_write or not _letters_wait(company):
            return
        sent = Desk(company, kinds(company)).post()
        if sent is not None and (sent.sent or sent.failed):
            LOG.info("%d letters sent, %d wait, %d could not be sent", sent.sent, sent.waiting, sent.failed)

    def _confirm(self) -> None:
        if not due.is_due(self.office.company):
            return
        with self.office.fresh() as company:
            written = due.write_due(company)
        if written:
            LOG.info("%d people are asked to confirm their yes", written)

    def _lapse(self) -> None:
        lapsed = lapse(self.office.company)
        if lapsed:
            LOG.info("%d yeses are over", lapsed)
        whole_ledger(self.office.company)
        recorded.whole_ledger(self.office.company)
        end_due(self.office.company)

    def _publish(self) -> None:
        publish_due(self.office.company)

    def _tidy(self) -> None:
        tidy(self.office.company)

    def _fetch(self) -> None:
        with self.office.fresh() as company:
            found = intake.fetch(company)
        if found is not None and (found.taken or found.aside):
            LOG.info("%d messages taken, %d put aside", found.taken, found.aside)
            self.office.bell.set()


def _letters_wait(company: Company) -> bool:
    now = company.clock()
    waiting = company.outbox.entries(state="waiting")
    return any(one.next_at is not None and one.next_at <= now for one in waiting)


def _line(text: str) -> str:
    return " ".join(text.split())
