"""The gate once more, sharing no code with it: from a policy as plain YAML and a world of plain values."""
# mypy: ignore-errors


def decide(policy: dict, world: dict, ask: dict) -> tuple[bool, str]:
    """Whether a use may happen, and the rule that refuses it: the first that does."""
    return next(((False, rule) for rule, wrong in refusals(policy, world, ask) if wrong), (True, ""))


def refusals(policy, world, ask):
    use, purpose, choices = policy["purposes"].get(ask["purpose"], {}), ask["purpose"], policy["choices"]
    needed, unless = use.get("choice", ()), use.get("unless", ())
    yield "purpose", not use
    data = [one] if isinstance(one := ask["data"], str) else use["uses"] if one is None else one
    yield "data", not data or not set(data) <= set(use["uses"])
    yield "channel", ask["channel"] not in (None, *use.get("sends", ()))
    who, by, (role, colon, key) = ask["person"], ask["by"], (ask["by"] or "").partition(":")
    me, floor, kinds = world["people"].get(who), use.get("groups"), world["kinds"].get(role, {role})
    strange = kinds.isdisjoint(use.get("by", ["staff", *world["kinds"]])) or (colon and not key)
    yield "by", strange if by is not None else "by" in use
    yield "groups", (ask["group"] is None) == bool(floor) or (floor and (who or ask["group"] < floor))
    yield "nobody", not floor and not me
    if me:
        yield "owner", any(policy["data"][name]["of"] not in me["kinds"] for name in data)
        for name in data:
            limits = {number: one for number, one in policy["retention"].items() if one["keeps"] == name}
            held = any(limits[number].get("hold") == purpose for number in limits.keys() - me["past"])
            yield "limit", not held and limits.keys() & me["past"]
        yield "region", "regions" in use and {me["region"], me["area"]}.isdisjoint(use["regions"])
        yield "left", me["left"] and "sends" in use and "choice" in use
        yield "restrict", me["restricted"] and use["ground"] == "contract"
        yield "object", purpose in me["objected"]
        yield "withdraw", me["withdrawn"] & set(needed)
        yield "hold", any(purpose not in me["held"].get(name, [purpose]) for name in use["uses"])
        every = [one for one in choices if "covers" in choices[one] and choices[one]["of"] in me["maybe"]]
        yield "choice", not all(stands(one, choices[one], ask, me) for one in (*every, *needed))
        yield "unless", any(stands(one, choices[one], ask, me, True) for one in choices if one in unless)
    yield "upon", "upon" in use
    (name, _, end), rows = role.partition("."), [row for row in world["rows"] if row["open"]]
    if by is not None and "staff" not in kinds:  # for themselves, or where a link ties them to the person
        ends = [row["ends"] for row in rows if row["link"] == name]
        tied = any(one.get(end) == f"member:{key}" and who in {**one, end: ""}.values() for one in ends)
        yield "by", not (tied if end else me and who == f"member:{key}" and role in me["kinds"])
    theirs = [row for row in rows if who in row["ends"].values()]
    mine = [row["case"] for row in theirs if row["role"] in kinds and row["key"] == key]
    yield "case", "case" in use and (ask["case"] not in mine or ask["case"].split(":")[0] not in use["case"])
    yield "during", "during" in use and use["during"] not in [row["link"] for row in theirs]
    yield "unless", [row for row in theirs if row["link"] in unless]
    yield from ((need, not ask["evidence"].get(need, "").strip()) for need in use.get("needs", ()))


def stands(name, choice, ask, me, forbids=False):
    scope, theirs = ask.get(choice.get("each")) or "", choice["of"] in me["maybe"]
    noes = [one for (one, _), answer in me["said"].items() if answer == "no" and "each" in choice]
    said = "no" if name in noes and not scope else me["said"].get((name, scope))
    asks = [choice["ask"][me["area"]]] if me["region"] else choice["ask"].values()
    given = (said == "yes" and (forbids or theirs)) or (said is None and theirs and "opt-in" not in asks)
    signals = set() if forbids else ask["signals"].intersection(choice.get("signals", ()))
    signalled = "device" in signals or (signals and said is None)
    return given and not signalled and ("by" not in choice or me["guarded"])
