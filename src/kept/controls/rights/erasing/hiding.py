"""A time in which the person may come back: their rows wait sealed in a room, and then go or return."""

from __future__ import annotations

from kept.company import Company
from kept.controls.rights import letters, register
from kept.controls.rights.batches import Batches
from kept.controls.rights.erasing import prints, room
from kept.controls.rights.erasing.scope import erasure
from kept.controls.rights.life import right_of
from kept.evidence.entry import Entry
from kept.stores.erasing.erase import Counts
from kept.stores.erasing.images import remove
from kept.stores.erasing.restore import restore


def hide(company: Company, batches: Batches, act: str) -> None:
    """Take one person's rows out of the SQL stores into the room, sealed under a key of their own."""
    held, fresh = prints.note(company, batches, act)
    if fresh:
        batches.remember(act)
    detail = batches.must(act)
    [request] = detail.requests
    for kind, keys in detail.people.items():
        if company.map.walk(kind) is None:
            continue
        meant = erasure(company, kind, held)
        store, part = meant.walk.store, f"erase {meant.walk.store} {kind}"

        def keep(taken: bytes, store: str = store) -> None:
            room.keep(company, request, store, taken)

        def note(counts: Counts, part: str = part) -> None:
            if counts.changed or part not in company.state.notes(act):
                company.state.note(act, part, counts.as_json())

        remove(company.stores[store], meant, keys, keep, note)
        prints.refuse_found(company, detail, kind, meant)


def wait(company: Company, batches: Batches, act: str) -> None:
    """From now on the person may come back until the time is over; they are told so, once."""
    right = right_of(company.policy, "erase")
    assert right is not None and right.waits is not None
    [request] = register.of_act(company, act)
    if request.awaits == "period":
        return
    until = right.waits.end(company.clock(), company.policy.timezone)
    batches.wait(
        act,
        "period",
        until,
        write=lambda connection: letters.waiting(company, connection, request, until),
    )


def come_back(company: Company, batches: Batches, act: str) -> None:
    """Put everything back as it was; only when all of it is there does the key go.

    A cell that somebody has written since keeps what they wrote, and is counted.
    """
    detail = batches.must(act)
    [asked] = register.of_act(company, act)
    since: dict[str, int] = dict(detail.traces.get("changed since", {}))
    for store, taken in room.waiting(company, asked.id):
        done = restore(company.stores[store], company.map.tables[store], taken, lambda _: None)
        since |= {f"{store}.{table}": cells for table, cells in done.changed_since.items()}
    detail.traces["changed since"] = since
    batches.remember(act)
    entry: Entry = {
        "act": "come back",
        "request": asked.id,
        "person": asked.pseudonym,
        "changed_since": sum(since.values()),
    }
    company.ledger.append_many([(f"come back {asked.id}", entry)])
    room.burn(company, [asked.id])
    batches.close(
        [act],
        {asked.id: {"changed_since": since}},
        "withdrawn",
        write=lambda connection: letters.came_back(company, connection, asked),
    )
