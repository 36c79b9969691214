"""After a backup was restored: whoever was erased since is there again, is found, and goes again."""

from __future__ import annotations

from dataclasses import dataclass

from kept.company import Company
from kept.controls.rights.erasing.erased import erased
from kept.controls.rights.erasing.remnants import freed, in_doubt, kept_by_holds
from kept.controls.rights.people import Person


@dataclass(frozen=True)
class Restored:
    """People who were erased and are there again; of the `doubtful` only the key says so, which somebody else may have.

    Who began after they were erased is somebody new, or the same who came anew, and neither. Nor is anybody of whom
    nothing stands but what a hold keeps, or what `kept work` lets go of by itself because that hold is over.
    """

    people: tuple[Person, ...]
    doubtful: tuple[Person, ...]
    looked_at: int


def restored(company: Company) -> Restored:
    """Look through everybody who stands in a SQL store.

    The doubtful include frames of which a hold is over and nothing shows whose they are, where the last look at frames
    found any.
    """
    people: list[Person] = []
    doubtful: list[Person] = []
    looked_at = 0
    if not company.pseudonyms.any_erased():
        return Restored((), (), 0)
    for kind in company.root_kinds():
        walk = company.map.walk(kind)
        for number, part in erased(company, walk) if walk is not None else ():
            looked_at += number
            back = [one for one in part if not one.gone.frame]
            doubtful += [one.person for one in back if not one.gone.surely]
            surely = [one for one in back if one.gone.surely]
            kept = kept_by_holds(company, [one.person for one in surely])
            people += [
                one.person
                for one in surely
                if one.person in kept.besides or (one.person in kept.over and not one.proven)
            ]
    for found in freed(company) if in_doubt(company) else ():
        doubtful += found.doubtful
    return Restored(tuple(people), tuple(doubtful), looked_at)
