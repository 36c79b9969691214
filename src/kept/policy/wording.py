"""Puts names and small expressions of a policy into words; "we" is the company, "you" the reader."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from kept.policy import words
from kept.policy.entry import Entry
from kept.policy.facts import PersonKind
from kept.policy.grammar import Clock, Event, Forever, Limit, Period
from kept.policy.policy import STAFF, Policy

IRREGULAR = {"child": "children", "person": "people", "staff": "staff"}

CHANNELS = {
    "email": "by e-mail",
    "push": "by push notification",
    "sms": "by SMS",
    "phone": "by phone",
    "post": "by post",
    "social": "on social media",
    "in-app": "in the app",
    "site": "on our site",
    "app": "in the app",
    "account": "in your account",
    "form": "by form",
}


def words_of(name: str) -> str:
    """`own-name` as `own name`, `sale.buyer` as `buyer`."""
    return name.rpartition(".")[2].replace("-", " ")


def joined(parts: Iterable[str], last: str = "and") -> str:
    """`a, b and c`; a part that has an "and" of its own is set off by a comma."""
    items = list(parts)
    if len(items) < 2:
        return "".join(items)
    comma = "," if len(items) > 1 and any(f" {last} " in item for item in items) else ""
    return f"{', '.join(items[:-1])}{comma} {last} {items[-1]}"


def listed(names: Iterable[str], last: str = "and") -> str:
    """Names in words: `own-name`, `phone` as `own name and phone`."""
    return joined(map(words_of, names), last)


def capitalised(text: str) -> str:
    return text[:1].upper() + text[1:]


def sentence_of(text: str) -> str:
    """A text as a sentence: a capital first, a full stop last."""
    return capitalised(text.strip()) + ("" if text.rstrip().endswith((".", "!", "?")) else ".")


def own_words(entry: Entry | None) -> str | None:
    """What the file itself calls a thing: its `says`."""
    return str(entry.says["en"]) if entry is not None and "en" in entry.says else None


def data_words(policy: Policy, names: Sequence[str], *, your: bool = True) -> str:
    """`your phone number, and account and usage data`: what the file says, else the names, with "data" once."""
    said = {name: own_words(entry) for name, entry in policy.data.items()}
    plain = [name for name in names if not said.get(name)]
    parts = [text for name in names if (text := said.get(name))]
    if plain:
        parts.append(f"{listed(plain)} data")
    return ("your " if your else "") + joined(parts)


def plural(name: str) -> str:
    word = words_of(name)
    if word in IRREGULAR:
        return IRREGULAR[word]
    if word.endswith("y") and word[-2:-1] not in "aeiou":
        return f"{word[:-1]}ies"
    return f"{word}s"


def a(word: str) -> str:
    vowel = word[:1] in "aeiou" and not word.startswith(("us", "uni", "eu", "one"))
    return f"{'an' if vowel else 'a'} {word}"


def people_words(policy: Policy, kind: str) -> str:
    """A kind in the plural: `customers`, `our support staff`."""
    own = own_words(policy.people.get(kind))
    if own:
        return own
    if kind == STAFF:
        return "our staff"
    return f"our {words_of(kind)} staff" if policy.is_staff(kind) else plural(kind)


def who_words(policy: Policy, who: str, you: Iterable[str] = ()) -> str:
    """Somebody as the reader sees them: `you` where they are among `you`, `the buyer`, `customers`, a party."""
    if who in you:
        return "you"
    party = next((party for name, party in policy.parties.items() if name == who), None)
    if party is not None:
        return "ourselves" if party.role == "us" else own_words(party) or party.label
    if who == "public":
        return "public sources"
    if who == "device":
        return "your device"
    if who == "anyone":
        return "anyone"
    kind = policy.kind_of(who)
    if kind is not None and "." in who and not policy.is_staff(kind):
        return f"the {words_of(who)}"
    return people_words(policy, kind or who)


def region_words(regions: Iterable[str], last: str = "and") -> str:
    return joined(map(words.region_name, regions), last)


def period_words(period: Period) -> str:
    return str(period)


def event_words(policy: Policy, event: Event) -> str:
    """`you stop being a user`, `the sale ends`, `we recorded it`."""
    if event.of is None:
        return {"recorded": "we recorded it", "found": "we find out", "asked": "you ask"}[event.moment]
    person = next((person for name, person in policy.people.items() if name == event.of), None)
    ends = event.moment == "ended"
    if person is None:
        return f"the {words_of(event.of)} {'ends' if ends else 'begins'}"
    if is_organisation(policy, person):
        return f"the {words_of(person.name)} {'leaves us' if ends else 'joins us'}"
    return f"you {'stop being' if ends else 'become'} {a(words_of(person.name))}"


def is_organisation(policy: Policy, person: PersonKind) -> bool:
    root = policy.root(person.name)
    return root is not None and root.is_organisation


def clock_words(policy: Policy, clock: Clock) -> str:
    """`24 months after you stop being a user`, `when the sale ends`."""
    event = event_words(policy, clock.event)
    if clock.period is None or clock.period.amount == 0:
        return f"when {event}" if clock.event.moment != "recorded" else "at once"
    return f"{clock.period} after {event}"


def limit_words(policy: Policy, limit: Limit) -> str:
    return "forever" if isinstance(limit, Forever) else clock_words(policy, limit)


def by_region(values: Mapping[str, str]) -> str:
    """`in the EEA and the UK X; elsewhere Y`, from a map of regions to phrases; one phrase where there is one."""
    grouped: dict[str, list[str]] = {}
    for region, phrase in values.items():
        grouped.setdefault(phrase, []).append(region)
    if len(grouped) == 1:
        return next(iter(grouped))
    parts = []
    for phrase, regions in grouped.items():
        named = [region for region in regions if region != "elsewhere"]
        place = (
            f"in {region_words(named)}"
            if "elsewhere" not in regions
            else joined([*([f"in {region_words(named)}"] if named else []), "elsewhere"])
        )
        parts.append(f"{place} {phrase}")
    return "; ".join(parts)


def channels(names: Iterable[str], last: str = "and") -> str:
    """`by e-mail, post and phone`."""
    phrases = [CHANNELS[name] for name in names]
    first = [phrase.removeprefix("by ") for phrase in phrases if phrase.startswith("by ")]
    rest = [phrase for phrase in phrases if not phrase.startswith("by ")]
    return joined(
        [
            *([f"by {joined(first, last)}"] if first and not rest else [f"by {phrase}" for phrase in first]),
            *rest,
        ],
        last,
    )
