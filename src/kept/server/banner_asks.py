"""What the banner asks, in which words: one value for a company, a language and a region, kept before it is shown."""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from sqlalchemy import select

from kept.company import Company
from kept.controls.choices import meaning
from kept.controls.choices.asking import ask_of, choices_of, in_browser, must_ask, visitor_kind
from kept.controls.choices.declare import Choice
from kept.controls.choices.floor import waiting
from kept.controls.choices.messages.about import about
from kept.controls.choices.records import history, notices, subjects
from kept.controls.choices.records.book import Recorder
from kept.controls.choices.records.history import Event
from kept.controls.rights.people import Person
from kept.errors import KeptError
from kept.policy import words
from kept.state.tables import meanings

FOLDER: Final = files("kept.server").joinpath("banner")
LANGUAGES: Final = ("en", "fr", "de", "nl", "bn", "ro", "ar")
FALLBACK: Final = "en"
OWN: Final = "banner"  # the folder, in the company's, with texts of its own; and the way of what is said here
TITLE: Final = "choice:"  # begins the word for what a choice is called: `choice:statistics`

PORTS: Final = {"http": 80, "https": 443}
HOST: Final = re.compile(
    r"(\*\.(?=[^.]+\.[^.]))?([a-z0-9_-]+\.)*[a-z0-9_-]+\.?"
)  # never all there is below `example`
BELOW: Final = re.compile(r"([a-z0-9_-]+\.)*[a-z0-9_-]+")

Text = Mapping[str, str]


def served(name: str) -> bytes:
    """A file of the banner as browsers get it: without its comments and the blanks before each line."""
    lines = FOLDER.joinpath(name).read_text("utf-8").splitlines()
    bare = (re.sub(r"^\s*(//.*|/\*.*\*/)?", "", line) for line in lines)
    return "".join(f"{line}\n" for line in bare if line).encode()


SCRIPT: Final = served("banner.js")
STYLE: Final = served("banner.css")


def texts(directory: Path) -> dict[str, Text]:
    """The banner's words by language: Kept's, and those in the company's folder `banner`, which win.

    A file is whole or refused (KeptError): nobody is asked in half a language.
    """
    found = {
        name: json.loads(FOLDER.joinpath("texts", f"{name}.json").read_text("utf-8")) for name in LANGUAGES
    }
    english = found[FALLBACK]
    for file in sorted((directory / OWN).glob("*.json")):
        where = f"{OWN}/{file.name}"
        try:
            given = json.loads(file.read_text("utf-8"))
        except ValueError:
            raise KeptError("this is no JSON", help="take Kept's en.json as a pattern", where=where) from None
        if not isinstance(given, dict) or not all(isinstance(text, str) and text for text in given.values()):
            raise KeptError("a text of the banner is a map from words to sentences", where=where)
        pattern = {word: text for word, text in english.items() if not word.startswith(TITLE)}
        if missing := [word for word in pattern if word not in given]:
            raise KeptError(f"the banner's texts lack {', '.join(missing)}", help="add them", where=where)
        if given["direction"] not in ("ltr", "rtl"):
            raise KeptError("`direction` is ltr or rtl", where=where)
        for word, text in pattern.items():
            if set(re.findall(r"{(\w+)}", text)) != set(re.findall(r"{(\w+)}", given[word])):
                raise KeptError(
                    f"`{word}` must have the same places in braces as Kept's: {text}", where=where
                )
        found[file.stem.lower()] = given
    return found


@dataclass(frozen=True)
class Sites:
    """The sites a banner may stand on, as browsers name them: an origin, or all below a host (`*.lumi.example`)."""

    origins: frozenset[str]
    below: tuple[tuple[str, str], ...]
    """What begins and what ends the origin of each site below a host."""

    @classmethod
    def of(cls, addresses: Sequence[str]) -> Sites:
        """The sites at some addresses; KeptError for one that no browser could name."""
        origins, below = set[str](), set[tuple[str, str]]()
        for address in filter(None, addresses):
            scheme, host, port = _parts(address)
            if not host.startswith("*."):
                origins.add(f"{scheme}://{host}{port}")
            else:
                below.add((f"{scheme}://", f"{host[1:]}{port}"))
        return cls(frozenset(origins), tuple(sorted(below)))

    def serve(self, origin: str) -> bool:
        """Whether a page of this origin is one of theirs."""
        return origin in self.origins or any(
            origin.startswith(begin)
            and origin.endswith(end)
            and BELOW.fullmatch(origin, len(begin), len(origin) - len(end))
            for begin, end in self.below
        )


def _parts(address: str) -> tuple[str, str, str]:
    """Scheme, host and port as a browser sends them (RFC 6454, 6.2): no default port, no letters but ASCII."""
    try:
        parts = urlsplit(address)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        host, port, parts = "", None, urlsplit("")
    name = host if ":" in host else ".".join(map(_label, unicodedata.normalize("NFKC", host).split(".")))
    if parts.scheme not in PORTS or not (HOST.fullmatch(name) or ":" in host):
        raise KeptError(
            f"`{address.rpartition('@')[2]}` is no address of a site",
            help="write it as https://www.example.org, or https://*.example.org for every site below a host",
            where="KEPT_SITES, sites of a party, or the address of a browser store",
        )
    written = "" if port in (None, PORTS[parts.scheme]) else f":{port}"
    return parts.scheme, f"[{name}]" if ":" in name else name, written


def _label(label: str) -> str:
    """A label of a host as browsers send it (UTS 46): `bücher` is `xn--bcher-kva`.

    Python's own codec follows IDNA 2003, by which `straße` is another's host, `strasse`.
    """
    lower = "".join(letter.lower() for letter in label)
    return lower if lower.isascii() else f"xn--{lower.encode('punycode').decode('ascii')}"


@dataclass
class Asks:
    """What one company's banner asks. Get it with `Asks.of`; it lasts as long as the company is open."""

    company: Company
    texts: Mapping[str, Text]

    def __post_init__(self) -> None:
        self._told: dict[tuple[str, tuple[str, ...]], dict[str, Any]] = {}
        self._grew: dict[tuple[str, str], bool] = {}
        self.sites = self._sites()

    @classmethod
    def of(cls, company: Company) -> Asks:
        found = company.memory.get(cls)
        if found is None:
            found = company.memory.setdefault(cls, cls(company, texts(company.directory)))
        assert isinstance(found, cls)
        return found

    @cached_property
    def recorder(self) -> Recorder:
        return Recorder(self.company)

    @cached_property
    def kind(self) -> str | None:
        """The kind of those who only browse; None where the policy has none, and there is nothing to ask."""
        return visitor_kind(self.company.policy)

    @cached_property
    def choices(self) -> dict[str, Choice]:
        """What a visitor can switch, themselves."""
        found = choices_of(self.company.policy, self.kind) if self.kind is not None else []
        return {str(choice.name): choice for choice in found if not choice.by}

    @cached_property
    def honours_gpc(self) -> bool:
        return any("gpc" in choice.signals for choice in self.choices.values())

    def knows(self, visitor: str) -> bool:
        """Whether a visitor ever answered."""
        who = Person(self.kind, (visitor,)) if self.kind is not None else None
        return who is not None and who in subjects.find(self.company, [who])

    def _sites(self) -> Sites:
        """The sites that may ask: the policy's browser stores, its own parties' `sites`, and the settings'."""
        policy, settings = self.company.policy, self.company.settings
        named = list(self.company.sites.values())
        named += [f"https://{site}" for party in policy.us() for site in party.sites]
        return Sites.of([*named, self.company.public_url, *settings.get("KEPT_SITES", "").split()])

    def language(self, wanted: Sequence[str]) -> str:
        """The first wanted language there are texts in: `fr-BE` is served by `fr`; else English."""
        for tag in wanted:
            parts = tag.strip().lower().split("-")
            for length in range(len(parts), 0, -1):
                if (name := "-".join(parts[:length])) in self.texts:
                    return name
        return FALLBACK

    def told(
        self, wanted: Sequence[str], region: str | None, who: Person | None, *, gpc: bool
    ) -> dict[str, Any]:
        """What a browser is told: what to ask, and how everything stands for `who`, where they are known.

        `region` as the policy language writes it; another word is a region nobody knows: the strictest way of asking.
        """
        region = region if region in words.regions() else None
        now = self.company.clock()
        stands = history.current(self.company, [who]).get(who, {}) if who is not None else {}
        told = self._words(self.language(wanted), region)
        choices = [
            {**one, **self._stands(self.choices[one["name"]], region, stands, now)} for one in told["choices"]
        ]
        return {**told, "choices": choices, "region": region, "gpc": gpc, "now": browser_time(now)}

    def _words(self, language: str, region: str | None) -> dict[str, Any]:
        """The same for everybody, kept as a notice: a person's region is in their answer, its way of asking here."""
        policy = self.company.policy
        place = (language, tuple(ask_of(policy, choice, region) for choice in self.choices.values()))
        if place in self._told:
            return self._told[place]
        text = dict(self.texts[language])
        names = " · ".join(party.label for party in policy.us()) or policy.name
        said = {
            word: sentence.replace("{us}", names)
            for word, sentence in text.items()
            if not word.startswith(TITLE)
        }
        tag, direction = said.pop("language"), said.pop("direction")
        described = notices.describe(policy, list(self.choices), language=tag, region=region)
        told_of = {name: self._told_of(choice, tag) for name, choice in self.choices.items()}
        for name, one in described.items():
            one["title"] = text.get(f"{TITLE}{name}", one["title"])
            one["text"], one["language"], _ = told_of[name]
        notice = notices.keep(
            self.company,
            {
                "kind": "banner",
                "language": tag,
                "region": None,
                "words": said | {"for": {name: list(told) for name, (*_, told) in told_of.items()}},
                "layout": sha256(STYLE).hexdigest(),
                "script": sha256(SCRIPT).hexdigest(),
                "policy": policy.source.digest,
                "version": policy.version.isoformat(),
                "controllers": [party.label for party in policy.us()],
                "choices": described,
            },
        )
        published = str(policy.published or "")
        self._told[place] = {
            "notice": notice,
            "language": tag,
            "direction": direction,
            "words": said,
            "policy": published if published.startswith(("https://", "http://")) else None,
            "choices": [
                {"name": name, **described[name], "for": told_of[name][2], **self._browser(choice)}
                for name, choice in self.choices.items()
            ],
        }
        return self._told[place]

    def _told_of(self, choice: Choice, language: str) -> tuple[str, str, tuple[str, ...]]:
        """What a choice is for: in short, its language, and at length.

        In short it is what the file `says`, else the sentences of what waits for the choice; at length it is both, the
        sentences only where they are in the language of the rest.
        """
        policy = self.company.policy
        said = about(policy, choice, language)
        whole = said.sentences
        if choice.says and said.language == FALLBACK and any(waiting(policy, choice)):
            whole += about(policy, replace(choice, says={}), language).sentences
        return " ".join(said.sentences), said.language, tuple(dict.fromkeys(whole))

    def _browser(self, choice: Choice) -> dict[str, Any]:
        found = in_browser(self.company.policy, choice)
        return {"gpc": "gpc" in choice.signals, "cookies": found.cookies, "storage": found.storage}

    def _stands(
        self, choice: Choice, region: str | None, stands: Mapping[history.Key, Event], now: datetime
    ) -> dict[str, Any]:
        """How a choice stands: `given` only where every part of it is, `refused` where any is."""
        policy = self.company.policy
        events = [event for (name, _), event in stands.items() if name == choice.name]
        if not events:
            return {
                "state": None,
                "at": None,
                "here": False,
                "must": must_ask(policy, choice, region, None, now, grown=False),
            }
        refused = [event for event in events if event.is_against]
        given = all(event.stands(now) for event in events)
        lapsed = [event for event in events if event.until is not None and event.until <= now]
        must = bool(lapsed) or any(
            must_ask(policy, choice, region, event, now, grown=self._has_grown(event, choice))
            for event in events
        )
        return {
            "state": "refused" if refused else "given" if given else None,
            "at": browser_time(max(event.at for event in refused or events)),
            "here": any(event.way == OWN for event in events),  # said in this very browser
            "must": must
            and (
                not refused
                or any(
                    must_ask(policy, choice, region, event, now, grown=self._has_grown(event, choice))
                    for event in refused
                )
            ),
        }

    def _has_grown(self, event: Event, choice: Choice) -> bool:
        """Whether a choice is about more than when this was answered."""
        now = meaning.meaning(self.company.policy, choice)
        place = (event.meaning, str(choice.name))
        if place not in self._grew:
            with self.company.state.read() as connection:
                body = connection.scalar(select(meanings.c.body).where(meanings.c.id == event.meaning))
            self._grew[place] = body is None or meaning.grew(json.loads(body), now)
        return self._grew[place]


def browser_time(at: datetime) -> str:
    """A time for a browser, which knows thousandths: never before what it stands for."""
    thousandths = math.ceil(at.timestamp() * 1000)
    return (
        datetime.fromtimestamp(thousandths / 1000, UTC)
        .isoformat(timespec="milliseconds")
        .replace("+00:00", "Z")
    )
