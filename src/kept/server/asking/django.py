"""The gate before a view of Django's, sync or async: where a use isn't allowed the answer is 403, and no view runs.

    from kept.server.asking.django import uses

    @uses("alerts", "account", person=lambda request, id: f"user:{id}")
    def alerts(request, id): ...                    # request.kept is the decision

    path("stats/", uses("improve-app", "usage", group=counted)(Stats.as_view()))

The setting KEPT is the folder with policy.yaml, or what `kept.opened` gave.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Any

from asgiref.sync import iscoroutinefunction
from django.conf import settings  # type: ignore[import-untyped]  # Django carries no types
from django.http import JsonResponse  # type: ignore[import-untyped]  # nor here

from kept.controls.choices.deciding import Decision
from kept.controls.purposes.gate.uses import Names
from kept.server.asking.declared import Asks, Declared
from kept.server.asking.opening import privacy, privacy_beside
from kept.server.asking.told import refusal

View = Callable[..., Any]


def uses(
    purpose: str,
    data: Names = None,
    *,
    person: Asks | None = None,
    by: Asks | None = None,
    case: Asks | None = None,
    group: Asks | None = None,
    evidence: Asks | None = None,
    signals: Asks | None = None,
    channel: str | None = None,
    quiet: bool = False,
) -> Callable[[View], View]:
    """A decorator that runs a view only where a purpose may use some data, with the decision in `request.kept`.

    `person`, `by`, `case`, `group`, `evidence` and `signals` are called with what the view is called with; before an
    async view they may be async. One that gives None refuses, and what one raises is raised. The answer is 403 with
    the sentence and its clauses as JSON, 503 where nobody can tell; with `quiet` the sentence stays unsaid.
    """
    declared = Declared(
        purpose,
        data,
        channel=channel,
        quiet=quiet,
        person=person,
        by=by,
        case=case,
        group=group,
        evidence=evidence,
        signals=signals,
    )

    def decorate(view: View) -> View:
        @wraps(view)
        def ask(request: Any, *args: Any, **kwargs: Any) -> Any:
            read = {name: call(request, *args, **kwargs) for name, call in declared.asks.items()}
            decision = declared.decide(privacy(_setting(), "KEPT"), read, gpc=_gpc(request))
            refused = _met(request, decision, declared)
            return view(request, *args, **kwargs) if refused is None else refused

        @wraps(view)
        async def ask_beside(request: Any, *args: Any, **kwargs: Any) -> Any:
            read = {}
            for name, call in declared.asks.items():
                value = call(request, *args, **kwargs)
                read[name] = await value if inspect.isawaitable(value) else value
            kept = await privacy_beside(_setting(), "KEPT")
            decision = await declared.decided(kept, read, gpc=_gpc(request))
            refused = _met(request, decision, declared)
            return await view(request, *args, **kwargs) if refused is None else refused

        return ask_beside if iscoroutinefunction(view) else ask

    return decorate


def _met(request: Any, decision: Decision, declared: Declared) -> Any:
    """The answer to a request that is refused; one that isn't carries the decision."""
    if decision.allowed:
        request.kept = decision
        return None
    status, body, headers = refusal(decision, quiet=declared.quiet)
    return JsonResponse(body, status=status, headers=dict(headers))


def _setting() -> object:
    return getattr(settings, "KEPT", None)


def _gpc(request: Any) -> bool:
    return str(request.headers.get("Sec-GPC", "")).strip() == "1"
