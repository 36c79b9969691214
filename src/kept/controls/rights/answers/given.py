"""Answers that were given: zips that wait to be fetched, and are removed when their time is over."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from sqlalchemy import select

from kept.company import Company
from kept.controls.rights import register
from kept.state.tables import requests


def expire(company: Company, after: timedelta) -> list[str]:
    """Remove the answers that were there for so long; the requests they were for, which note it.

    A file is looked at only when it is that old itself: there may be a hundred thousand.
    """
    now = company.clock()
    oldest = (now - after).timestamp()
    files = company.answers.glob("*.zip") if company.answers.is_dir() else ()
    ids = [path.stem for path in files if _changed(path) <= oldest]
    found = register.of_ids(company, ids)
    over = [one.id for one in found if one.closed is not None and one.closed <= now - after]
    for id in over:
        (company.answers / f"{id}.zip").unlink(missing_ok=True)
    if over:
        with company.state.write() as connection:
            register.happen(company, connection, over, register.Event(now, "expired"))
    return over


def answered(company: Company, pseudonyms: Sequence[str]) -> dict[str, str]:
    """Every request ever answered with a zip for these people, with the pseudonym it stands under."""
    found: dict[str, str] = {}
    with company.state.read() as connection:
        for part in register.parts(pseudonyms):
            query = select(requests.c.id, requests.c.pseudonym).where(
                requests.c.verb.in_(("access", "export")), requests.c.pseudonym.in_(part)
            )
            found |= {row.id: row.pseudonym for row in connection.execute(query)}
    return found


def _changed(path: Path) -> float:
    """When a file was written, in seconds since 1970; one that somebody has removed meanwhile is never old."""
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return float("inf")
