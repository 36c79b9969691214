"""The gate as a dependency of FastAPI: a path whose use isn't allowed answers 403, and runs nothing.

    from kept.server.asking.fastapi import Uses

    def whom(id: int) -> str:                       # a dependency as any other
        return f"user:{id}"

    @app.get("/users/{id}/alerts")
    def alerts(id: int, use: Annotated[Decision, Depends(Uses("alerts", "account", person=whom))]): ...

`app.state.kept` is what `kept.opened` gave, or the folder with policy.yaml.
"""

from __future__ import annotations

from inspect import Parameter, Signature
from typing import Any

from fastapi import Depends, HTTPException
from starlette.requests import HTTPConnection

from kept.controls.choices.deciding import Decision
from kept.controls.purposes.gate.uses import Names
from kept.server.asking.declared import Asks, Declared
from kept.server.asking.opening import privacy_beside
from kept.server.asking.told import refusal


class Uses:
    """A dependency that lets through whoever may use some data for a purpose, and gives the decision.

    `person`, `by`, `case`, `group`, `evidence` and `signals` are dependencies of their own, sync or async; one that
    gives None refuses, and what one raises is raised. Raises HTTPException: 403 with the sentence and its clauses as
    `detail`, 503 where nobody can tell. With `quiet` the sentence stays unsaid, for views about somebody else. The
    decision is in `request.state.kept` too.
    """

    def __init__(
        self,
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
    ) -> None:
        self._declared = Declared(
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
        named = Parameter.KEYWORD_ONLY
        # FastAPI reads from a signature what it has to find; whatever a callable asks for, it finds for that.
        self.__signature__ = Signature(
            [
                Parameter("connection", named, annotation=HTTPConnection),
                *(
                    Parameter(name, named, default=Depends(call))
                    for name, call in self._declared.asks.items()
                ),
            ]
        )

    async def __call__(self, connection: HTTPConnection, **read: Any) -> Decision:
        privacy = await privacy_beside(getattr(connection.app.state, "kept", None), "app.state.kept")
        gpc = connection.headers.get("sec-gpc", "").strip() == "1"
        decision = await self._declared.decided(privacy, read, gpc=gpc)
        if not decision.allowed:
            status, body, headers = refusal(decision, quiet=self._declared.quiet)
            raise HTTPException(status, body, dict(headers))
        connection.state.kept = decision
        return decision
