"""Whether words are the name of a person, and whether two of them may be the same one's, however they are written.

Nobody here can see who sits at the keyboard: this keeps a program from deciding by accident or under a disguise, and
somebody from deciding on their own proposal under another spelling. Who is logged in, the company's own system says.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

from kept.policy.policy import STAFF, Policy

LONGEST: Final = 200  # characters

_WORDS: Final = """
account admin administrator agent ai anonymous api app application assistant auto automat automated
automatic automation backend batch bot by chatbot chatgpt cli computer copilot cron daemon decision
decisions default engine form gpt job kept llm machine mod model moderation moderator na nobody none
noreply null of openai operator page pipeline process program programme robot rule rules root
scheduler script server service site software staff support sys system task test the unknown user web
webhook website worker workflow
"""

NO_NAMES: Final = frozenset(_WORDS.split())
"""Words of which no name of a person consists: a decision with an effect on somebody is never a machine's alone
(GDPR Art. 22)."""

_BLANK: Final = frozenset("\u115f\u1160\u3164\uffa0\u17b4\u17b5\u2800")  # letters that nobody sees
_TURNING: Final = frozenset(
    "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
)  # writing that runs backwards
_ALIKE: Final = str.maketrans(
    "авгеёһнііјкмпорсѕтухԁԛԝьαβεηικμνοπρστυχγıɑɡɩʀѵ", "abreehhiijkmnopcstyxdqwbabenikmvonpstuxyiagirv"
)  # what looks like a Latin letter, in small letters
_DIGITS: Final = str.maketrans("0134578", "oleastb")


def words(name: str) -> frozenset[str]:
    """The words of a name as an eye would read them: no accents, capitals, blanks or lookalikes; digits left out."""
    return frozenset(re.findall(r"[^\W\d_]+", re.sub(r"\d", "", _plain(name))))


def is_name(policy: Policy, name: str) -> bool:
    """Whether words can be a person's name: letters that are seen, and not only words for a role or a program."""
    if len(name) > LONGEST or any(unicodedata.category(c) == "Cc" or c in _TURNING for c in name):
        return False
    local = name.partition("@")[0]
    found = _said(words(local))
    if not found or sum(map(len, words(local))) < 2:
        return False
    none = NO_NAMES | {
        word
        for known in (
            STAFF,
            *policy.people,
            *policy.links,
            *policy.parties,
            *policy.section("purposes"),
            policy.name,
        )
        for word in words(str(known))
    }
    none |= {word for link in policy.links.values() for end in link.between for word in words(str(end))}
    disguised = _said(frozenset(re.findall(r"[^\W\d_]+", _plain(local).translate(_DIGITS))))
    return not found <= none and not disguised <= none and _letters(local) not in none


def may_be_one(name: str, other: str) -> bool:
    """Whether two names may be one person's: `R. Reed, Robin` and `Robin Reed`, or an address that holds both."""
    one, two = words(name), words(other)
    if not one or not two:
        return name.strip().casefold() == other.strip().casefold()
    return _are_among(one, two) or _are_among(two, one)


def _are_among(some: frozenset[str], others: frozenset[str]) -> bool:
    """Whether each of some words is one of the others, or the initial of one, or has its initial there."""
    left = sorted(others - some)
    for word in sorted(some - others):
        meant = next((one for one in left if _is_initial(word, one) or _is_initial(one, word)), None)
        if meant is None:
            return False
        left.remove(meant)
    return True


def _is_initial(letter: str, word: str) -> bool:
    return len(letter) == 1 and letter.isascii() and word.startswith(letter)


def _said(found: frozenset[str]) -> frozenset[str]:
    """The words without initials, and letters of a version: `gpt-4o`, `bot v2`."""
    return frozenset(word for word in found if len(word) > 1 or not word.isascii())


def is_same_role(one: str, two: str) -> bool:
    """Whether two words are one `ROLE` or `ROLE:KEY`, however they are written."""
    return re.findall(r"\w+", _plain(one)) == re.findall(r"\w+", _plain(two))


def _letters(name: str) -> str:
    """All letters of a name in one word, for whoever spells `s y s t e m`."""
    return "".join(re.findall(r"[^\W\d_]", _plain(name)))


def _plain(name: str) -> str:
    seen = (
        c
        for c in unicodedata.normalize("NFKD", name).casefold()
        if unicodedata.category(c) not in ("Cf", "Mn", "Me", "Cc") and c not in _BLANK
    )
    return unicodedata.normalize("NFKD", "".join(seen)).translate(_ALIKE)
