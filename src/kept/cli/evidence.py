"""`kept verify`, `kept evidence`, `kept attest`: evidence anyone can check, and what a named person confirms."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Final

import click

from kept.cli.company import directory, file, formats, opened
from kept.controls.choices.records import receipt
from kept.errors import KeptError
from kept.evidence import attestations
from kept.evidence.bundle import verify_bundle

_BEGINNING: Final = 64  # bytes by which a receipt is told from a bundle


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option(
    "--key", help="The company's public key (hex), as published; without it the file's own key is believed."
)
@click.option(
    "--since",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="An earlier bundle you hold: the new one must contain its history, unchanged.",
)
@formats("text", "json")
def verify(bundle: Path, key: str | None, since: Path | None, form: str) -> None:
    """Check a bundle, or somebody's receipt, without the company's systems.

    Exits with 1 where it isn't as it was signed: of a bundle the first entry tampered with is named.
    """
    if _is_receipt(bundle):
        if since is not None:
            raise KeptError("a receipt has no history to compare", help="--since is for bundles")
        _verify_receipt(bundle, key, form)
        return
    known = verify_bundle(since, trusted_key=key).head if since is not None else None
    verified = verify_bundle(bundle, trusted_key=key, known_head=known)
    if form == "json":
        head = verified.head
        click.echo(
            json.dumps(
                {
                    "entries": verified.size,
                    "root": head.root,
                    "at": head.at,
                    "key": head.key,
                    "trusted": verified.trusted,
                    "acts": dict(verified.acts),
                }
            )
        )
    else:
        click.echo(f"good: {verified}")
        for act, number in sorted(verified.acts.items()):
            click.echo(f"  {act}: {number}")


def _is_receipt(path: Path) -> bool:
    with path.open("rb") as file:
        return receipt.is_one(file.read(_BEGINNING))


def _verify_receipt(path: Path, key: str | None, form: str) -> None:
    with path.open("rb") as file:
        verified = receipt.verify(file.read(receipt.LIMIT + 1), key)
    if form == "json":
        click.echo(json.dumps(asdict(verified)))
    else:
        click.echo(f"good: {verified}")


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path, dir_okay=False))
@directory
def evidence(bundle: Path, folder: Path | None) -> None:
    """Write the ledger to a bundle that anyone can check with `kept verify`."""
    if bundle.exists():
        raise KeptError(
            "the file is there already", help="keep old bundles; name a new file", where=str(bundle)
        )
    with opened(folder) as company:
        head = company.ledger.export(bundle)
    click.echo(f"{head.size} entries in {bundle}")
    click.echo(f"key {head.key}: publish it, so that nobody can pass off another ledger as yours")


@click.command()
@click.argument("promise")
@click.option("--name", required=True, help="Who confirms it.")
@directory
@file
def attest(promise: str, name: str, folder: Path | None, file: Path | None) -> None:
    """Confirm a promise that no machine can see; it lapses as the policy file says."""
    with opened(folder, file) as company:
        until = attestations.attest(
            company.state, company.ledger, company.policy, promise, name, company.clock()
        )
    click.echo(f"{promise} is attested by {name} until {until.date()}.")


COMMANDS = (verify, evidence, attest)
