"""A way to a real server of another process, with faults on demand and what that server lacks."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from urllib.parse import urlencode

import httpx

from kept.testing.loopback import Call, Loopback, Reply


class StripeProxy(Loopback):
    """Passes calls on to localstripe.

    Three things are changed on the way. localstripe lists payment methods by type only, Stripe also without one: the
    type is added. Stripe answers `resource_missing` for the lists of an id it doesn't know, localstripe only for ids of
    its own form. And localstripe has no search; with `searches`, one is made of its list, by Stripe's rules for a field
    that is equal to a text, whatever the capitals (docs.stripe.com/search).
    """

    def __init__(self, target: str, searches: bool = False) -> None:
        super().__init__()
        self.target = target
        self.searches = searches
        self.queries: list[str] = []
        self.http = httpx.Client(trust_env=False)

    def stop(self) -> None:
        super().stop()
        self.http.close()

    def handle(self, call: Call) -> Reply:
        query = dict(call.query)
        if call.path == "/v1/customers/search" and self.searches:
            return self._search(call, query["query"], int(query.get("page") or 0))
        if not query.get("customer", "cus_").startswith("cus_"):
            return Reply(400, {"error": {"type": "invalid_request_error", "code": "resource_missing"}})
        if call.path == "/v1/payment_methods" and call.method == "GET":
            query["type"] = "card"
        return self._pass(call, call.path, query)

    def _pass(self, call: Call, path: str, query: Mapping[str, str]) -> Reply:
        headers = {
            name: call.headers[name] for name in ("authorization", "content-type") if name in call.headers
        }
        url = f"{self.target}{path}" + (f"?{urlencode(query)}" if query else "")
        answer = self.http.request(call.method, url, content=call.body, headers=headers)
        return Reply(answer.status_code, answer.content)

    def _search(self, call: Call, query: str, page: int) -> Reply:
        self.queries.append(query)
        clause = r"(\w+)(?:\['([^']*)'\])?:'((?:[^'\\]|\\.)*)'"
        if not re.fullmatch(rf"{clause}(?: OR {clause}){{0,9}}", query, re.S):
            return Reply(
                400, {"error": {"type": "invalid_request_error", "message": "the query can't be read"}}
            )
        asked = [
            (m[1], m[2], re.sub(r"\\(.)", r"\1", m[3]).casefold()) for m in re.finditer(clause, query, re.S)
        ]
        everybody = json.loads(self._pass(call, "/v1/customers", {"limit": "10000"}).bytes())["data"]
        found = [
            one
            for one in everybody
            if any(str(_field(one, name, key) or "").casefold() == value for name, key, value in asked)
        ]
        shown = found[page * 4 : page * 4 + 4]  # small pages, so that there are several
        more = page * 4 + 4 < len(found)
        following = str(page + 1) if more else None
        return Reply(
            200, {"object": "search_result", "data": shown, "has_more": more, "next_page": following}
        )


def _field(record: Mapping[str, object], name: str, key: str | None) -> object:
    value = record.get(name)
    return value.get(key) if key is not None and isinstance(value, dict) else value
