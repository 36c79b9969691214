"""The waiting room: rows of a person who may still come back, sealed under a key of their own.

Coming back puts every row back as it was. When the time is over the key is destroyed, and then the rows: from that
moment nobody can restore anything, Kept included.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import delete, func, insert, select

from kept.company import Company
from kept.state.tables import requests, room_keys, rooms

_NONCE = 12  # bytes; the size NIST SP 800-38D §8.2 gives AES-GCM


def keep(company: Company, request: str, store: str, images: bytes) -> None:
    """Seal the images of rows that are about to be removed; durable when it returns."""
    with company.state.write() as connection:
        wrapped = connection.execute(select(room_keys.c.key).where(room_keys.c.request == request)).scalar()
        if wrapped is None:
            key = AESGCM.generate_key(256)
            sealed = company.keys.seal("room", key)
            connection.execute(insert(room_keys).values(request=request, key=sealed))
        else:
            key = company.keys.unseal("room", wrapped)
        number = connection.execute(
            select(func.count()).where(rooms.c.request == request, rooms.c.store == store)
        ).scalar_one()
        nonce = secrets.token_bytes(_NONCE)
        sealed = nonce + AESGCM(key).encrypt(nonce, images, _bound(request, store, number))
        connection.execute(insert(rooms).values(request=request, store=store, number=number, sealed=sealed))


def waiting(company: Company, request: str) -> list[tuple[str, bytes]]:
    """What waits for a request: store and images, the last removed first; nothing once the key is gone."""
    with company.state.read() as connection:
        wrapped = connection.execute(select(room_keys.c.key).where(room_keys.c.request == request)).scalar()
        rows = connection.execute(
            select(rooms.c.store, rooms.c.number, rooms.c.sealed)
            .where(rooms.c.request == request)
            .order_by(rooms.c.store, rooms.c.number.desc())
        ).all()
    if wrapped is None:
        return []
    key = company.keys.unseal("room", wrapped)
    return [
        (store, AESGCM(key).decrypt(sealed[:_NONCE], sealed[_NONCE:], _bound(request, store, number)))
        for store, number, sealed in rows
    ]


def burn(company: Company, ids: Sequence[str]) -> None:
    """Destroy the keys, then what they sealed, and see to it that the files of Kept's state hold neither."""
    with company.state.write() as connection:
        connection.execute(delete(room_keys).where(room_keys.c.request.in_(list(ids))))
        connection.execute(delete(rooms).where(rooms.c.request.in_(list(ids))))
    company.state.checkpoint()


def leftovers(company: Company) -> int:
    """Rows or keys that are kept for a request that is over: nothing must be."""
    is_open = select(requests.c.id).where(requests.c.state == "open")
    with company.state.read() as connection:
        return sum(
            connection.execute(
                select(func.count()).select_from(table).where(table.c.request.not_in(is_open))
            ).scalar_one()
            for table in (rooms, room_keys)
        )


def _bound(request: str, store: str, number: int) -> bytes:
    """What a sealed image belongs to, so that none can be put in another's place."""
    return f"{request} {store} {number}".encode()
