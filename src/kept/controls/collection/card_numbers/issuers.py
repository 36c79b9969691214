"""Which card network a number belongs to: the ranges of first digits and the lengths each network issues.

Sources, read in November 2026:
[7812] ISO/IEC 7812-1, and the table of issuing networks in Wikipedia's "Payment card number";
[BT] the card types published by Braintree (github.com/braintree/credit-card-type);
[TEST] test numbers published by Adyen, Authorize.Net, Braintree, iyzico, Mastercard, PayPal, PayU, Stripe;
[DISC] the ranges of Discover's network, which carries Diners, JCB and UnionPay in America.
"""

from __future__ import annotations

from dataclasses import dataclass

_WIDTH = 8  # an issuer's number is at most eight digits long (ISO/IEC 7812-1:2017)


@dataclass(frozen=True)
class Issuer:
    """Numbers of one network: how they begin and how many digits they have.

    `starts` is a list of prefixes and of ranges of prefixes of one length, as `"34 37"` or `"2221-2720"`.
    `spaced`: found only where it is written in groups, because what else has this form is far more common.
    """

    network: str
    starts: str
    lengths: tuple[int, ...]
    source: str
    spaced: bool = False


_LONG = (16, 17, 18, 19)
ISSUERS = (
    Issuer("Visa", "4", (13, 16, 19), "[7812]"),
    Issuer("Mastercard", "51-55 2221-2720", (16,), "[7812]"),
    Issuer("American Express", "34 37", (15,), "[7812]"),
    Issuer("Diners Club", "300-305 309 36 38 39", (14, 16, 19), "[7812] [BT] [TEST]"),
    Issuer("Discover", "6011 644-649 65", _LONG, "[7812]"),
    Issuer("JCB", "3528-3589", _LONG, "[7812]"),
    Issuer("JCB", "3088-3094 3096-3102 3112-3120 3158-3159 3337-3349", _LONG, "[DISC] [TEST]"),
    Issuer("JCB", "1800 2131", (15,), "[BT]"),
    Issuer("UnionPay", "62 8100-8171", (14, 15, *_LONG), "[7812] [BT] [TEST]"),
    # Maestro may have from 12 digits; so few have less than 16 that the short ones count only in published ranges,
    # else every eighth telephone number of the Philippines (63…) would be a card.
    Issuer(
        "Maestro",
        "5018 5020 5038 5893 6304 6759 6761-6763 676770 676774",
        (12, 13, 14, 15, *_LONG),
        "[7812]",
    ),
    Issuer("Maestro", "50 56-58 63 67", _LONG, "[7812] [BT] [TEST]"),
    Issuer("RuPay", "60 81 82 508", (16,), "[7812] [TEST]"),  # its 353 and 356 are JCB's too
    Issuer("Mir", "2200-2204", _LONG, "[7812] [BT]"),
    Issuer("Troy", "9792 2205", (16,), "[7812] [TEST]"),
    Issuer("Verve", "506099-506198 507865-507964 650002-650027", (16, 18, 19), "[7812] [BT]"),
    Issuer("Elo", "401178-401179 431274 438935 451416 457393 457631-457632 504175", (16,), "[BT]"),
    Issuer("Elo", "506699-506778 509000-509999 627780 636297 636368", (16,), "[BT]"),
    Issuer("Elo", "650031-650033 650035-650051 650405-650439 650485-650538 650541-650598", (16,), "[BT]"),
    Issuer("Elo", "650700-650718 650720-650727 650901-650978 651652-651679", (16,), "[BT]"),
    Issuer("Elo", "655000-655019 655021-655058", (16,), "[BT]"),
    Issuer("Hipercard", "606282 637095 637568 637599 637609 637612 63737423 63743358", (16,), "[BT]"),
    Issuer("Dankort", "5019 4571", (16,), "[7812] [TEST]"),
    Issuer("Bancontact", "6703", _LONG, "[TEST]"),
    Issuer("InterPayment", "636", _LONG, "[7812]"),
    Issuer("InstaPayment", "637-639", (16,), "[7812]"),
    Issuer("Carnet", "286900", (16,), "[7812]"),
    Issuer("GPN", "1946", (16,), "[7812]"),
    Issuer("Shetab", "6104", (16,), "[7812]"),
    Issuer("UkrCard", "60400100-60420099", _LONG, "[7812]"),
    Issuer("Prostir", "9804", (16,), "[7812]"),
    Issuer("Uzcard", "8600 5614", (16,), "[7812]"),
    Issuer("Humo", "9860", (16,), "[7812]"),
    Issuer("Napas", "9704", (16, 19), "[7812]"),
    Issuer("ArCa", "9051", (16,), "[7812]"),
    Issuer("Belkart", "9112", (16,), "[7812]"),
    # Fifteen digits from a 1 are also the numbers of people in large social networks.
    Issuer("UATP", "1", (15,), "[7812]", spaced=True),
)


def _ranges(issuer: Issuer) -> list[tuple[int, int]]:
    """The ranges of an issuer in eight digits, both ends included."""
    found = []
    for part in issuer.starts.split():
        low, _, high = part.partition("-")
        found.append((int(low.ljust(_WIDTH, "0")), int((high or low).ljust(_WIDTH, "9"))))
    return found


def _table() -> dict[tuple[int, bytes], tuple[tuple[int, int, Issuer], ...]]:
    """By length and first two digits what may come, the narrowest range first."""
    table: dict[tuple[int, bytes], list[tuple[int, int, Issuer]]] = {}
    for issuer in ISSUERS:
        for low, high in _ranges(issuer):
            for first in range(low // 10**6, high // 10**6 + 1):
                for length in issuer.lengths:
                    table.setdefault((length, b"%02d" % first), []).append((low, high, issuer))
    return {place: tuple(sorted(found, key=lambda one: one[1] - one[0])) for place, found in table.items()}


_TABLE = _table()
LENGTHS = tuple(sorted({length for length, _ in _TABLE}))
"""The numbers of digits a card number may have."""


BEGINNINGS = frozenset(first for _, first in _TABLE)
"""The first two digits (ASCII) a card number may have."""


def _unspaced() -> dict[bytes, int]:
    starts: dict[bytes, int] = {}
    for (length, first), found in _TABLE.items():
        if any(not issuer.spaced for _, _, issuer in found):
            starts[first] = starts.get(first, 0) | 1 << length
    return starts


UNSPACED = _unspaced()
"""By a number's first two digits (ASCII) the lengths written in one piece that may be a card, as bits: a quick no."""


def network_of(digits: bytes, *, spaced: bool) -> str | None:
    """The network whose range and length digits (ASCII) are in, its check digit aside; None: nobody's.

    `spaced` says that the number is written in groups.
    """
    for low, high, issuer in _TABLE.get((len(digits), digits[:2]), ()):
        if low <= int(digits[:_WIDTH]) <= high and (spaced or not issuer.spaced):
            return issuer.network
    return None
