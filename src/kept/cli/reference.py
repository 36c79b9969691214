"""The commands as a page of Markdown: `python -m kept.cli.reference > docs/commands.md`."""

from __future__ import annotations

import click

from kept.cli.main import EXIT_CODES, kept

OPENING = "# Commands\n\nMade from the commands themselves; a test holds the two together.\n"


def reference() -> str:
    """Every command with what it does, its arguments and its options."""
    parts = [OPENING, "## Exit codes\n", _paragraph(EXIT_CODES)]
    context = click.Context(kept, info_name="kept")
    for command, inner in _commands(context, kept):
        usage = " ".join([inner.command_path, *(piece for piece in command.collect_usage_pieces(inner))])
        parts += [f"## {inner.command_path}\n", f"    {usage}\n", _paragraph(command.help or "")]
        options = [option for option in command.params if isinstance(option, click.Option)]
        rows = [record for option in options if (record := option.get_help_record(inner)) is not None]
        if rows:
            parts.append(
                "\n".join(["| option | meaning |", "| --- | --- |", *(_row(*row) for row in rows)]) + "\n"
            )
    return "\n".join(parts)


def _commands(context: click.Context, group: click.Group) -> list[tuple[click.Command, click.Context]]:
    found: list[tuple[click.Command, click.Context]] = []
    for name in group.list_commands(context):
        command = group.commands[name]
        inner = click.Context(command, info_name=name, parent=context)
        found.append((command, inner))
        if isinstance(command, click.Group):
            found += _commands(inner, command)
    return found


def _paragraph(text: str) -> str:
    return "\n\n".join(" ".join(part.split()) for part in text.strip().split("\n\n")) + "\n"


def _row(option: str, meaning: str) -> str:
    cells = (" ".join(text.replace("|", "\\|").split()) for text in (option, meaning))
    return "| " + " | ".join(f"`{cell}`" if not number else cell for number, cell in enumerate(cells)) + " |"


if __name__ == "__main__":
    click.echo(reference(), nl=False)
