"""Open a store that is not SQL, from what the policy file declares and the settings it names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from kept.errors import TerminalError
from kept.policy.facts import DeclaredStore
from kept.stores.records import hubspot, stripe
from kept.stores.records.access import read_access
from kept.stores.records.client import Waiting
from kept.stores.records.files import FileStore
from kept.stores.records.http import HTTPStore, Partner
from kept.stores.records.hubspot import HubSpotStore
from kept.stores.records.store import RecordStore
from kept.stores.records.stripe import StripeStore


def open_records(
    declared: DeclaredStore,
    settings: Mapping[str, str],
    *,
    sign: Callable[[bytes], bytes],
    callback: str | None = None,
    regulation: str = "gdpr",
    waiting: Waiting | None = None,
) -> RecordStore:
    """The store behind an API that the policy file declares; nothing is connected yet.

    `settings` are the values of the file's $NAMEs; `sign` is the company's Ed25519 signature; `callback` is the address
    of Kept's own where a partner of kind `http` calls back; `regulation` is OpenDSR's word for the law: gdpr or ccpa.
    TerminalError when a setting is missing or can't be read, or the kind isn't one of hubspot, stripe, http.
    """
    name = str(declared.name)
    setting = _setting(name, str(declared.address or ""), settings)
    match declared.sort:
        case "hubspot":
            return HubSpotStore(name, read_access(name, setting, hubspot.ADDRESS), waiting)
        case "stripe":
            return StripeStore(name, read_access(name, setting, stripe.ADDRESS), waiting)
        case "http":
            if declared.answers == "callback" and callback is None:
                raise TerminalError(
                    "it calls back, and Kept has no address of its own",
                    help="tell Kept the address it is reached at, or write answers: status",
                    where=name,
                )
            partner = Partner(
                {str(known): str(type) for known, type in declared.identities.items()},
                _setting(name, str(declared.signed_by or ""), settings),
                {str(endpoint): str(path) for endpoint, path in declared.paths.items()},
                callback if declared.answers == "callback" else None,
                regulation,
            )
            return HTTPStore(name, read_access(name, setting), partner, sign, waiting)
        case kind:
            raise TerminalError(f"stores of kind `{kind}` have no records behind an API", where=name)


def open_files(declared: DeclaredStore, settings: Mapping[str, str], folder: Path) -> FileStore:
    """The folder of a store of kind `files`: a path, relative to `folder`, or `file:///path`."""
    name = str(declared.name)
    path = _setting(name, str(declared.address or ""), settings).removeprefix("file://")
    if not path or "://" in path or "\0" in path:
        raise TerminalError(
            "its folder can't be read", help="write a path, or the $NAME of a setting with one", where=name
        )
    return FileStore(name, folder / path)


def _setting(store: str, text: str, settings: Mapping[str, str]) -> str:
    """What is meant by a text of the file: itself, or the setting that it names."""
    if not text.startswith("$"):
        return text
    if not settings.get(text[1:]):
        raise TerminalError(
            f"the setting {text[1:]} is missing", help="put it into the environment or into .env", where=store
        )
    return settings[text[1:]]
