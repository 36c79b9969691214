"""Sealing and opening values of 40 bytes: a second, beside Fernet and AES-GCM alone, in one run.

    python -m benchmarks.sealing [--values 20000] [--runs 5]

`kept` is all of it: the key of the store, the value bound to its row, the text that goes into the column; opening also
asks the gate and notes on the ledger. The peers encrypt with a key they are handed, bind to nothing and ask nobody.
Then a rotation: a table of sealed values, sealed anew while it may be used, in a SQLite file.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from cryptography.fernet import Fernet
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, AESSIV

from kept.controls.security.sealing import resealing
from kept.controls.security.sealing.sealer import Sealer
from tests.acceptance.sealed import EMAIL, TOKEN, company, customer, database

PLAIN = "a-token-of-forty-letters-and-some-digits"


def rates(works: dict[str, Callable[[int], object]], values: int, runs: int) -> dict[str, list[float]]:
    """Calls a second of each, in turns, so that what disturbs one disturbs all."""
    found: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(runs):
        for name, work in works.items():
            begin = time.perf_counter()
            for number in range(values):
                work(number)
            found[name].append(values / (time.perf_counter() - begin))
    return found


def show(title: str, found: dict[str, list[float]], beside: str) -> None:
    print(title)
    other = statistics.median(found[beside])
    for name, each in found.items():
        middle = statistics.median(each)
        print(f"  {name:34} {middle:>10,.0f} a second  × {middle / other:.2f}")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--values", type=int, default=20_000)
    parser.add_argument("--runs", type=int, default=5)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "app.sqlite").touch()
        url = f"sqlite:///{folder / 'app.sqlite'}"
        database(url, 12)
        with company(folder, url) as opened:
            sealer, who, key = Sealer.of(opened), customer(1), ("north", 1)
            fernet, plain = Fernet(Fernet.generate_key()), PLAIN.encode()
            gcm, siv = AESGCM(AESGCM.generate_key(256)), AESSIV(AESSIV.generate_key(512))
            nonce, text = b"n" * 12, sealer.seal(TOKEN, key, PLAIN)
            token, raw = fernet.encrypt(plain), urlsafe_b64encode(gcm.encrypt(nonce, plain, None))
            searched = urlsafe_b64encode(siv.encrypt(plain, [b"place"]))
            use = {"purpose": "automation", "person": who}
            found = sealer.columns[TOKEN]
            sealing: dict[str, Callable[[int], object]] = {
                "kept": lambda _: sealer.seal(TOKEN, key, PLAIN),
                "kept, searchable": lambda _: sealer.seal(EMAIL, 1, PLAIN),
                "Fernet (AES-128-CBC, HMAC)": lambda _: fernet.encrypt(plain),
                "AES-256-GCM and base64": lambda _: urlsafe_b64encode(gcm.encrypt(nonce, plain, None)),
                "AES-SIV and base64": lambda _: urlsafe_b64encode(siv.encrypt(plain, [b"place"])),
            }
            opening: dict[str, Callable[[int], object]] = {
                "kept, with gate and ledger": lambda _: sealer.open(TOKEN, key, text, **use),  # type: ignore[arg-type]  # its words
                "kept, the cipher's part": lambda _: sealer.opened(found, key, text),
                "Fernet (AES-128-CBC, HMAC)": lambda _: fernet.decrypt(token),
                "AES-256-GCM and base64": lambda _: gcm.decrypt(nonce, urlsafe_b64decode(raw), None),
                "AES-SIV and base64": lambda _: siv.decrypt(urlsafe_b64decode(searched), [b"place"]),
            }
            show("sealing", rates(sealing, given.values, given.runs), "Fernet (AES-128-CBC, HMAC)")
            show("opening", rates(opening, given.values, given.runs), "Fernet (AES-128-CBC, HMAC)")
            with opened.stores["app"].write() as connection:
                connection.exec_driver_sql(
                    "INSERT INTO integrations (shop, number, customer_id, token)"
                    " WITH RECURSIVE n(i) AS (SELECT 1000 UNION ALL SELECT i + 1 FROM n WHERE i < ?)"
                    f" SELECT 'many', i, 1, '{PLAIN}' FROM n",
                    (999 + given.values,),
                )
            begin = time.perf_counter()
            done = resealing.apply(opened, "app").values[TOKEN]
            taken = time.perf_counter() - begin
            begin = time.perf_counter()
            turned = resealing.rotate(opened, "app", grace=timedelta()).values[TOKEN]
            again = time.perf_counter() - begin
            print(f"sealed in place {done / taken:,.0f} values a second, rotated {turned / again:,.0f}")


if __name__ == "__main__":
    main()
