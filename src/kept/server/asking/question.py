"""What `POST /api/decide` is asked and answers, as its callers read it in `/api/openapi.json`."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from fastapi import FastAPI
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

PATH: Final = "/api/decide"
AT_ONCE: Final = 10_000  # people asked about in one call


def _text(text: str) -> str:
    """Text that any database takes, as it is: a key without its odd characters would be another's."""
    if "\x00" in text or (not text.isascii() and any("\ud800" <= one <= "\udfff" for one in text)):
        raise ValueError("it has characters that are no text")
    return text


Word = Annotated[str, Field(min_length=1, max_length=400), AfterValidator(_text)]


class Ask(BaseModel):
    """A use, and whom it is about: one person, many, or a group of so many."""

    model_config = ConfigDict(extra="forbid", strict=True)

    purpose: Word
    data: Word | Annotated[list[Word], Field(min_length=1, max_length=100)] | None = Field(
        None, description="names of data; all that the purpose uses when left out"
    )
    person: Word | None = Field(None, description="kind:key, or an identifier such as an e-mail address")
    people: Annotated[list[Word], Field(min_length=1, max_length=AT_ONCE)] | None = Field(
        None, description="kind:key each, for a use that nothing but the person decides"
    )
    group: Annotated[int, Field(ge=0, le=10**12)] | None = Field(
        None, description="how many people an answer about nobody in particular is about"
    )
    by: Word | None = Field(None, description="who asks: ROLE or ROLE:KEY, `engineer:4`")
    case: Word | None = Field(None, description="their reason: `error:81`")
    channel: Word | None = Field(None, description="where the purpose sends something: email, phone, push …")
    signals: Annotated[list[Literal["gpc", "device"]], Field(max_length=2)] = Field(
        default_factory=list,
        description="`gpc`: their browser sends Sec-GPC; `device`: the switch on their device is off",
    )
    evidence: Annotated[dict[Word, Word], Field(max_length=20)] = Field(
        default_factory=dict, description="what the purpose needs, by its word: claims, or words"
    )

    @model_validator(mode="after")
    def _one_of(self) -> Ask:
        if (self.person is not None) + (self.people is not None) + (self.group is not None) > 1:
            raise ValueError("name one `person`, or `people`, or the size of a `group`")
        if self.people is not None and (self.by is not None or self.case is not None or self.evidence):
            raise ValueError("who asks, in which case and with which evidence is about one `person`")
        return self

    @property
    def names(self) -> str | tuple[str, ...] | None:
        return tuple(sorted(set(self.data))) if isinstance(self.data, list) else self.data


class Answer(BaseModel):
    """A decision. `fields`: by column (`store.table.column`), `as is`, `masked` or `aggregated`."""

    allowed: bool
    reason: str = Field(description="a sentence")
    clause: list[str] = Field(description="the sentences of the policy page that say so")
    unsure: bool = Field(description="refused because nobody could tell: ask again later")
    rule: str = Field(description="a word for what refused it")
    choice: str | None = Field(description="the choice it turned on")
    fields: dict[str, str]
    floor: int | None = Field(description="of how many people each group has at least")


def describe(server: FastAPI) -> None:
    """Put the path into the API's description: no route of the server's answers it."""
    plain = server.openapi

    def openapi() -> dict[str, Any]:
        known = server.openapi_schema is not None
        found = plain()
        if not known:
            found["paths"][PATH] = {"post": _described(found)}
        return found

    server.openapi = openapi  # type: ignore[method-assign]  # FastAPI's own way to change it


def _described(whole_: dict[str, Any]) -> dict[str, Any]:
    schemas = whole_.setdefault("components", {}).setdefault("schemas", {})
    for model in (Ask, Answer):
        schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas |= schema.pop("$defs", {}) | {model.__name__: schema}
    one = {"$ref": "#/components/schemas/Answer"}
    many = {"type": "object", "additionalProperties": one, "title": "By person, for `people`"}
    asks = {
        "required": True,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Ask"}}},
    }
    return {
        "summary": "Whether a purpose may use data now, which columns, and how",
        "operationId": "decide",
        "requestBody": asks,
        "responses": {
            "200": {
                "description": "The decision, allowed or not; by person where `people` are asked about",
                "content": {"application/json": {"schema": {"anyOf": [one, many]}}},
            },
            "401": {"description": "The token is missing or wrong"},
            "413": {"description": "The body is too long"},
            "422": {"description": "The body is not as it has to be"},
        },
        "security": [{"HTTPBearer": []}],
    }
