"""Problems of a policy as people read them, and the error that carries them."""

from __future__ import annotations

from kept.errors import KeptError
from kept.policy.source import Problems, Source


def report(source: Source, problems: Problems) -> str:
    """Every problem in the order of the file, then how many there are; the text ends with a line break."""
    shown = [problem.show(source) for problem in problems.in_order()]
    return "\n\n".join([*shown, summary(source, problems)]) + "\n"


def summary(source: Source, problems: Problems) -> str:
    """`2 errors, 1 finding in policy.yaml`."""
    found = problems.in_order()
    errors = sum(problem.severity == "error" for problem in found)
    findings = len(found) - errors
    return f"{_counted(errors, 'error')}, {_counted(findings, 'finding')} in {source.path}"


def _counted(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"


class PolicyError(KeptError):
    """A policy file with errors: nothing can be done under it. `problems` has every one, findings too."""

    def __init__(self, source: Source, problems: Problems) -> None:
        super().__init__(
            summary(source, problems), help="mend the errors, then run `kept check`", where=source.path
        )
        self.source = source
        self.problems = problems

    def __str__(self) -> str:
        return report(self.source, self.problems).rstrip("\n")
