"""What a column looks like, by the words of its name and a sample of its values: a hint, never a verdict."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterable
from datetime import date

import phonenumbers
from email_validator import EmailNotValidError, validate_email
from stdnum import iban, luhn

# Words of a column's name, and the sort they speak of; the longer reading comes first.
_NAMES: tuple[tuple[tuple[str, ...], str], ...] = (
    (("ip", "address"), "ip-address"),
    (("ip", "addr"), "ip-address"),
    (("user", "name"), "username"),
    (("user", "agent"), "device"),
    (("birth",), "birth-date"),
    (("born",), "birth-date"),
    (("dob",), "birth-date"),
    (("birthday",), "birth-date"),
    (("email",), "email"),
    (("e", "mail"), "email"),
    (("mail",), "email"),
    (("phone",), "phone"),
    (("telephone",), "phone"),
    (("mobile",), "phone"),
    (("fax",), "phone"),
    (("ip",), "ip-address"),
    (("iban",), "bank-account"),
    (("bank",), "bank-account"),
    (("pan",), "card-number"),
    (("card", "number"), "card-number"),
    (("ssn",), "national-id"),
    (("passport",), "national-id"),
    (("national", "id"), "national-id"),
    (("tax",), "tax-number"),
    (("vat",), "tax-number"),
    (("password",), "credential"),
    (("token",), "credential"),
    (("secret",), "credential"),
    (("login",), "username"),
    (("nickname",), "username"),
    (("username",), "username"),
    (("handle",), "username"),
    (("street",), "address"),
    (("address",), "address"),
    (("postcode",), "address"),
    (("zip",), "address"),
    (("latitude",), "precise-location"),
    (("longitude",), "precise-location"),
    (("lat",), "precise-location"),
    (("lon",), "precise-location"),
    (("device",), "device"),
    (("photo",), "photo"),
    (("avatar",), "photo"),
    (("surname",), "name"),
    (("firstname",), "name"),
    (("lastname",), "name"),
    (("name",), "name"),
    (("comment",), "free-text"),
    (("note",), "free-text"),
    (("notes",), "free-text"),
    (("message",), "free-text"),
)
_MOST = 0.8


def looks_like(column: str, values: Iterable[str] = ()) -> str | None:
    """The sort a column seems to hold: what most of its values are, else what its name says, else None."""
    filled = [value.strip() for value in values if value.strip()]
    for sort, is_one in _VALUES:
        if filled and sum(map(is_one, filled)) >= _MOST * len(filled):
            return sort
    words = tuple(re.findall(r"[a-z]+", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", column).lower()))
    for tokens, sort in _NAMES:
        if any(words[i : i + len(tokens)] == tokens for i in range(len(words))):
            return sort
    return None


def _email(value: str) -> bool:
    try:
        validate_email(value, check_deliverability=False, test_environment=True)
    except EmailNotValidError:
        return False
    return True


def _ip(value: str) -> bool:
    if "." not in value and ":" not in value:
        return False
    try:
        ipaddress.ip_interface(value)
    except ValueError:
        return False
    return True


def _phone(value: str) -> bool:
    # without a country code nothing tells a telephone from any other number
    if not value.startswith("+"):
        return False
    try:
        return phonenumbers.is_valid_number(phonenumbers.parse(value))
    except phonenumbers.NumberParseException:
        return False


def _card(value: str) -> bool:
    digits = re.sub(r"[ -]", "", value)
    return (
        digits.isdecimal()
        and 13 <= len(digits) <= 19
        and len(set(digits)) > 1
        and bool(luhn.is_valid(digits))
    )


def _born(value: str) -> bool:
    """A day that a living person may be born on, and that no log would hold."""
    try:
        day = date.fromisoformat(value)
    except ValueError:
        return False
    return 1900 <= day.year <= 1995


_VALUES: tuple[tuple[str, Callable[[str], bool]], ...] = (
    ("email", _email),
    ("ip-address", _ip),
    ("bank-account", lambda value: bool(iban.is_valid(value))),
    ("phone", _phone),
    ("card-number", _card),
    ("birth-date", _born),
)
