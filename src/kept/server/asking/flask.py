"""The gate before a view of Flask's: a use that isn't allowed is answered 403, and the view doesn't run.

    from kept.server.asking.flask import uses

    @app.get("/users/<int:id>/alerts")
    @uses("alerts", "account", person=lambda id: f"user:{id}")
    def alerts(id): ...                             # g.kept is the decision

`app.config["KEPT"]` is the folder with policy.yaml, or what `kept.opened` gave.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from flask import Response, current_app, g, jsonify, request

from kept.controls.purposes.gate.uses import Names
from kept.server.asking.declared import Asks, Declared
from kept.server.asking.opening import privacy
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
    """A decorator that runs a view only where a purpose may use some data, with the decision in `flask.g.kept`.

    It stands below the route. `person`, `by`, `case`, `group`, `evidence` and `signals` are called with what the view
    is called with. One that gives None refuses, and what one raises is raised. The answer is 403 with the sentence and
    its clauses as JSON, 503 where nobody can tell; with `quiet` the sentence stays unsaid.
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
        def ask(*args: Any, **kwargs: Any) -> Any:
            sync = current_app.ensure_sync
            read = {name: sync(call)(*args, **kwargs) for name, call in declared.asks.items()}
            kept = privacy(current_app.config.get("KEPT"), 'config["KEPT"]')
            gpc = request.headers.get("Sec-GPC", "").strip() == "1"
            decision = declared.decide(kept, read, gpc=gpc)
            if not decision.allowed:
                return _refused(*refusal(decision, quiet=declared.quiet))
            g.kept = decision
            return sync(view)(*args, **kwargs)

        return ask

    return decorate


def _refused(status: int, body: Any, headers: Any) -> Response:
    answer = jsonify(body)
    answer.status_code = status
    answer.headers.update(headers)
    return answer
