"""The thread that carries choices over to the guards, four times a second, for as long as `kept serve` runs.

A guard whose database is down stays as it is, and closes by itself what rests on a yes when that has lasted too long.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Final

from kept.company import Company
from kept.controls.purposes.guard.carry import Carrier
from kept.errors import KeptError

EVERY: Final = 0.25  # seconds between two passes
LONGEST: Final = 30.0  # seconds between two tries while something is down
LOG: Final = logging.getLogger("kept.guard")


class Carrying:
    """Carries for the company that a call gives: another one after the policy file changed."""

    def __init__(self, company: Callable[[], Company]) -> None:
        self._company = company
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="kept-guard", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self, seconds: float = 10.0) -> None:
        """Let a pass under way end."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(seconds)

    def _run(self) -> None:
        carrier: Carrier | None = None
        wait = EVERY
        while not self._stop.is_set():
            try:
                company = self._company()
                if carrier is None or carrier.company is not company:
                    carrier = Carrier(company)
                carrier.once()
                wait = EVERY
            except Exception as wrong:  # noqa: BLE001  # whatever it is must not end the carrying; its text stays unsaid
                said = wrong.message if isinstance(wrong, KeptError) else type(wrong).__name__
                wait = min(wait * 2, LONGEST)
                LOG.warning(
                    "choices are not carried over to the guard: %s; tried again in %.0f s", said, wait
                )
                carrier = None  # and everybody anew
            self._stop.wait(wait)
