"""What all acts of requests have in common: legs of steps, each step harmless when it was done before."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar

from sqlalchemy import Connection

from kept.company import Company
from kept.controls.rights import letters, register
from kept.controls.rights.batches import Batches
from kept.controls.rights.people import Person
from kept.controls.rights.places import refuse_unreached

Legs = list[list[str]]


class Acting(ABC):
    """An act for a batch of requests of one verb; a step is written `WORD` or `WORD STORE`.

    One that has to be done `everywhere` takes no step while a declared place can't be reached.
    """

    everywhere: ClassVar[bool] = False

    def __init__(self, company: Company, batches: Batches) -> None:
        self.company = company
        self.batches = batches

    @abstractmethod
    def plan(self, people: Sequence[Person]) -> Legs:
        """The legs for a batch; raises TerminalError where it can't be carried out in full."""

    @abstractmethod
    def do(self, act: str, word: str, rest: str) -> None:
        """One step of an act that is open."""

    def steps(self, act: str, leg: int) -> Sequence[str]:
        detail = self.batches.detail(act)
        under_way = detail is not None and detail.leg == leg and leg < len(detail.legs)
        return detail.legs[leg] if detail is not None and under_way else []

    def step(self, act: str, name: str) -> None:
        detail = self.batches.detail(act)
        if detail is not None:
            if (
                self.everywhere
            ):  # asked again: a store that answered when the act was planned may be silent now
                refuse_unreached(self.company, detail.people)
            word, _, rest = name.partition(" ")
            self.do(act, word, rest)

    def close(self, act: str, outcomes: Mapping[str, Mapping[str, object]]) -> None:
        """Close every request of an act as done, and write to those who left an address."""
        company = self.company
        write = None
        if company.can_write:
            asked = register.of_act(company, act)

            def write(connection: Connection) -> None:
                for request in asked:
                    letters.done(company, connection, request, outcomes[request.id])

        self.batches.close([act], outcomes, write=write)

    def singly(self) -> bool:
        """Whether each person has an act of their own, because each may turn out otherwise."""
        return False

    def apart(self, people: Sequence[Person]) -> list[list[Person]]:
        """The people of a batch, those together that one act carries it out for."""
        return [[person] for person in people] if self.singly() else [list(people)]
