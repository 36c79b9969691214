"""What somebody filled into a form of ours, read from the body of a POST."""

from __future__ import annotations

from datetime import timedelta
from typing import Final
from urllib.parse import parse_qsl

from starlette.requests import Request

from kept.company import Company
from kept.errors import KeptError
from kept.evidence.links import LinkWrong
from kept.mail.mime import HIDDEN

MOST: Final = 20  # fields of one form
FORM_FOR: Final = timedelta(hours=2)  # how long a form may lie open before it is sent


class NotAForm(KeptError):
    """What came is no form of ours."""


async def fields(request: Request, most: int = MOST) -> dict[str, str]:
    """The fields of a form, each once; raises NotAForm for another kind of body, or too many of them."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise NotAForm("this is not a form of ours", help="use the form on our page")
    try:
        pairs = parse_qsl((await request.body()).decode("utf-8"), keep_blank_values=True, max_num_fields=most)
    except ValueError:  # not UTF-8, or too many fields
        raise NotAForm("the form can't be read", help="use the form on our page") from None
    found = dict(reversed(pairs))  # of a field given twice the first counts
    # What staff read in a terminal must not steer it: no control characters, no turned writing direction.
    return {
        name: HIDDEN.sub("", value.replace("\r\n", "\n").replace("\r", "\n")) for name, value in found.items()
    }


def token_of(company: Company, subject: str) -> str:
    """What a form carries to show that it came from our page; good for FORM_FOR."""
    return company.links.make("form", subject, company.clock() + FORM_FOR)


def is_ours(company: Company, token: str, subject: str) -> bool:
    """Whether a form came from our page, for this subject, not long ago."""
    try:
        return company.links.read(token, "form").subject == subject
    except LinkWrong:
        return False
