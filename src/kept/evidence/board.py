"""The board: every promise of a policy with its verdict, measured now."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from kept.company import Company
from kept.controls.provers import MISSING, PROVERS, prove_fact
from kept.controls.registry import fact_sentence, promised_facts, sentence
from kept.errors import KeptError
from kept.evidence.attestations import standing
from kept.evidence.proof import Proof, Verdict, worst
from kept.policy.entry import Entry, Promise
from kept.policy.source import Source

VERDICTS: tuple[Verdict, ...] = ("kept", "broken", "attested", "unproven")


@dataclass(frozen=True)
class Row:
    """One promise on the board; the worst of its proofs is its verdict."""

    promise: Entry
    control: str
    sentence: str
    proofs: tuple[Proof, ...]

    @property
    def verdict(self) -> Verdict:
        return worst(self.proofs)


@dataclass(frozen=True)
class Board:
    """What `kept prove` shows: `at` is when the measuring began (UTC)."""

    policy: str
    version: str
    path: str
    at: datetime
    rows: tuple[Row, ...]

    @property
    def counts(self) -> dict[Verdict, int]:
        verdicts = [row.verdict for row in self.rows]
        return {verdict: verdicts.count(verdict) for verdict in VERDICTS}

    @property
    def sections(self) -> dict[str, list[Row]]:
        """The rows by section, in the order of the file."""
        found: dict[str, list[Row]] = {}
        for row in self.rows:
            found.setdefault(row.control, []).append(row)
        return found

    def as_json(self) -> dict[str, object]:
        return {
            "policy": self.policy,
            "version": self.version,
            "at": self.at.isoformat(timespec="seconds"),
            "counts": self.counts,
            "promises": [self._row(row) for row in self.rows],
        }

    def _row(self, row: Row) -> dict[str, object]:
        return {
            "id": row.promise.id,
            "clause": list(map(str, row.promise.clause)),
            "sentence": row.sentence,
            "control": row.control,
            "verdict": row.verdict,
            "proofs": [
                {"kind": p.kind, "verdict": p.verdict, "measured": dict(p.measured), "says": p.says}
                for p in row.proofs
            ],
            "declared": {"file": self.path, "line": row.promise.span.line},
        }


def prove(company: Company) -> Board:
    """Measure every promise against the live stores. A proof that could not be made is `unproven`, never `kept`."""
    policy, at = company.policy, company.clock()
    rows = [
        Row(promise, promise.section, sentence(policy, promise), tuple(_proofs(company, promise)))
        for promise in policy.every_promise()
    ]
    rows += [
        Row(fact, section, fact_sentence(policy, fact), tuple(_of_fact(company, fact)))
        for fact, section in promised_facts(policy)
    ]
    if _edited(policy.source):
        rows = [Row(row.promise, row.control, row.sentence, (EDITED,)) for row in rows]
    return Board(policy.name, policy.version.isoformat(), policy.source.path, at, tuple(rows))


EDITED = Proof(
    "measure", "unproven", "The policy file was changed while it was being proven; run `kept prove` again."
)
NOT_MEASURED = Proof(
    "measure", "unproven", "Nothing measures it yet: this version reads it and puts it into words."
)


def _proofs(company: Company, promise: Promise) -> list[Proof]:
    proofs = []
    prover = PROVERS.get(promise.section)
    if prover is not None:
        try:
            proofs += prover(company, promise)
        except KeptError as wrong:
            proofs.append(Proof("measure", "unproven", f"It could not be measured: {wrong.message}"))
    if promise.attest is not None:
        confirmed = standing(company.state, promise, company.clock())
        if confirmed.verdict == "attested":
            proofs = [proof for proof in proofs if not proof.unseen]
        proofs.append(confirmed)
    return proofs or [Proof("measure", "unproven", MISSING[promise.section])]


def _of_fact(company: Company, fact: Entry) -> list[Proof]:
    try:
        return prove_fact(company, fact) or [NOT_MEASURED]
    except KeptError as wrong:
        return [Proof("measure", "unproven", f"It could not be measured: {wrong.message}")]


def _edited(source: Source) -> bool:
    try:
        return Source.read(source.path).digest != source.digest
    except (OSError, UnicodeDecodeError):
        return True
