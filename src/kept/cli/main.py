"""The command `kept`: one file for each group of commands, one way to show what went wrong."""

from __future__ import annotations

import os
import sys
import traceback

import click

from kept import __version__
from kept.cli import (
    board,
    case,
    choices,
    collect,
    consents,
    decide,
    demo,
    disclose,
    ending,
    evidence,
    groups,
    guard,
    hold,
    look,
    policy,
    register,
    scan,
    security,
    serve,
    sweep,
)
from kept.errors import KeptError, TransientError

EXIT_CODES = """
Exit codes: 0 done, and nothing wrong was found · 1 something is wrong with what was asked about: an error in the
policy, drift, a broken promise, a request not finished, a tampered bundle · 2 the command could not be carried out:
wrong words, an unreadable file · 3 a store or a disk failed; the same command may succeed later, and goes on where
it stopped.
"""


@click.group(epilog=EXIT_CODES, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="kept")
def kept() -> None:
    """A privacy policy that runs: declare promises, enforce them, prove them."""


for command in (
    *policy.COMMANDS,
    *board.COMMANDS,
    *scan.COMMANDS,
    *sweep.COMMANDS,
    *register.COMMANDS,
    *serve.COMMANDS,
    *ending.COMMANDS,
    *hold.COMMANDS,
    *case.COMMANDS,
    *look.COMMANDS,
    *disclose.COMMANDS,
    *evidence.COMMANDS,
    *choices.COMMANDS,
    *groups.COMMANDS,
    *guard.COMMANDS,
    *collect.COMMANDS,
    *consents.COMMANDS,
    *decide.COMMANDS,
    *security.COMMANDS,
    *demo.COMMANDS,
):
    kept.add_command(command)


def main() -> None:
    """Run `kept`; what goes wrong is said in words, without a traceback and without anybody's data."""
    try:
        kept(standalone_mode=False)
    except click.exceptions.Exit as ended:
        sys.exit(ended.exit_code)
    except click.Abort:
        click.echo("Stopped; nothing is half done, and the same command goes on where it stopped.", err=True)
        sys.exit(130)
    except click.ClickException as wrong:
        wrong.show()
        sys.exit(wrong.exit_code)
    except KeptError as wrong:
        click.echo(f"error: {wrong}", err=True)
        sys.exit(3 if isinstance(wrong, TransientError) else wrong.exit_code)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(1)
    except Exception as wrong:  # noqa: BLE001 the last resort: its own text may hold a personal value
        frame = traceback.extract_tb(wrong.__traceback__)[-1]
        place = f"{frame.name} ({os.path.basename(frame.filename)}:{frame.lineno})"
        click.echo(
            f"internal error: {type(wrong).__name__} in {place}",
            err=True,
        )
        click.echo(
            "  help: this is a fault of Kept's; KEPT_DEBUG=1 shows the traceback, which may hold personal data",
            err=True,
        )
        if os.environ.get("KEPT_DEBUG"):
            traceback.print_exc()
        sys.exit(2)
