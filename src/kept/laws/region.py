"""Where a law holds: which regions lie in which area."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from kept.laws.law import law

EEA: Final = frozenset(
    "at be bg hr cy cz dk ee fi fr de gr hu ie is it lv li lt lu mt nl no pl pt ro sk si es se".split()  # noqa: SIM905
)


def covers(area: str, region: str) -> bool:
    """Whether a region lies in an area: `eea` covers `fr`, `uk` covers `gb-sct`, `us` covers `us-ca`."""
    country = region.partition("-")[0]
    if area in ("eea", "uk"):
        return region == area or (country in EEA if area == "eea" else country == "gb")
    return area in (region, country)


def applying(laws: Sequence[str], region: str | None) -> tuple[str, ...]:
    """Which of a policy's laws are a person's, in the policy's order; `region` as the policy language writes it.

    A region that is unknown, or that no law of the policy names, gives all of them: the GDPR protects whoever a company
    in the EEA holds data about, wherever they live (Art. 3(1)), and who asks from nowhere is not given less. A region
    that is wider than a law's (`us` for California's) may be inside it, so the law counts.
    """
    if region is not None:
        found = tuple(
            name
            for name in laws
            if any(covers(area, region) or covers(region, area) for area in law(name).regions)
        )
        if found:
            return found
    return tuple(laws)


def offered(laws: Sequence[str], region: str | None) -> dict[str, tuple[str, ...]]:
    """The rights a person has, each with the laws that give it: `{"erase": ("gdpr",), …}`."""
    rights: dict[str, tuple[str, ...]] = {}
    for name in applying(laws, region):
        given = law(name)
        for right in (*given.rights, *given.requests.opt_outs):
            rights[right] = tuple(dict.fromkeys((*rights.get(right, ()), name)))
    return rights
