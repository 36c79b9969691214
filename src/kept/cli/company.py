"""Which company a command is about: `--dir`, else KEPT_DIR, else the current folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import click

from kept import company
from kept.controls.acts import kinds
from kept.controls.registry import examine, load
from kept.errors import KeptError
from kept.policy.report import PolicyError
from kept.policy.source import Problems
from kept.state import workflows

F = TypeVar("F", bound=Callable[..., Any])


def directory(command: F) -> F:
    """The option `--dir`."""
    option = click.option(
        "--dir",
        "folder",
        type=click.Path(path_type=Path, file_okay=False),
        envvar="KEPT_DIR",
        show_default="where FILE stands, else the current folder",
        help="The company's folder: policy.yaml, settings (.env), Kept's state and keys.",
    )
    return option(command)


def file(command: F) -> F:
    """The argument FILE: the policy file, `policy.yaml` in the company's folder when left out."""
    return click.argument("file", type=click.Path(path_type=Path, dir_okay=False), required=False)(command)


def formats(*known: str) -> Callable[[F], F]:
    """The option `--format`; the first is the default."""
    return click.option(
        "--format",
        "form",
        type=click.Choice(known),
        default=known[0],
        show_default=True,
        help="How to print.",
    )


def place(folder: Path | None, file: Path | None) -> tuple[Path, Path]:
    """The company's folder and its policy file: a FILE given alone stands in its company's folder."""
    if folder is None:
        folder = file.parent if file is not None else Path()
    return folder, file if file is not None else folder / "policy.yaml"


@contextmanager
def opened(folder: Path | None, file: Path | None = None) -> Iterator[company.Company]:
    """The company in a folder; a policy that can't be read is refused, every mistake shown."""
    folder, path = place(folder, file)
    with company.opened(load(path), folder) as found:
        yield found


def declared(found: company.Company, purpose: str, where: str) -> None:
    """Refuse a word that is no purpose of the policy, naming those that are."""
    if purpose not in found.policy.section("purposes"):
        raise KeptError(
            "the policy has no such purpose",
            help="known: " + ", ".join(found.policy.section("purposes")),
            where=where,
        )


@contextmanager
def at_work(
    folder: Path | None, file: Path | None = None
) -> Iterator[tuple[company.Company, workflows.Workflows]]:
    """The company with its durable acts; what a crash left unfinished is finished first.

    Nothing is changed under a policy that contradicts itself; what only a law would have otherwise stops nobody from
    using a right.
    """
    folder, path = place(folder, file)
    policy, source, problems = examine(path, today=datetime.now(UTC).date())
    wrong = Problems([problem for problem in problems.errors if problem.law is None])
    if policy is None or wrong.found:
        raise PolicyError(source, wrong if wrong.found else problems)
    with (
        company.opened(policy, folder) as found,
        workflows.opened(found.workflows, kinds(found)) as running,
    ):
        yield found, running
