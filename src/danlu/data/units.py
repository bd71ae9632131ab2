"""The text next to a number: a currency, a unit, a percent sign, "k" or "million"."""

from __future__ import annotations

import re
import unicodedata

__all__ = ["factor", "is_money", "is_unit", "same_unit", "split_unit"]

_SCALES = {
    "k": 1e3,
    "K": 1e3,
    "M": 1e6,
    "B": 1e9,
    "T": 1e12,
    "Tsd": 1e3,
    "mn": 1e6,
    "Mn": 1e6,
    "mln": 1e6,
    "bn": 1e9,
    "Bn": 1e9,
    "BN": 1e9,
    "tn": 1e12,
    "mio": 1e6,
    "Mio": 1e6,
    "mrd": 1e9,
    "Mrd": 1e9,
    "MM": 1e6,
    "thousand": 1e3,
    "million": 1e6,
    "billion": 1e9,
    "trillion": 1e12,
    "Million": 1e6,
    "Billion": 1e9,
    "Millionen": 1e6,
    "Milliarden": 1e9,
    "千": 1e3,
    "万": 1e4,
    "萬": 1e4,
    "亿": 1e8,
    "億": 1e8,
    "百万": 1e6,
}
_CODES = frozenset(
    code
    for line in (
        "USD EUR GBP JPY CNY RMB CHF CAD AUD NZD HKD SGD INR BRL MXN ZAR RUB KRW TRY SEK NOK DKK PLN CZK HUF RON THB IDR",
        "MYR PHP TWD ILS AED SAR EGP NGN UAH VND CLP COP ARS PEN",
    )
    for code in line.split()
)
_MONEY = frozenset(
    ("kr", "kr.", "zł", "Kč", "Ft", "lei", "Rs", "Rs.", "Fr", "Fr.", "SFr.", "руб", "руб.", "元", "円", "원", "块")
)
_DOLLARS = re.compile(r"[A-Z]{1,3}\$")
_ALIASES = {"€": "EUR", "$": "USD", "US$": "USD", "£": "GBP", "RMB": "CNY"}
_ORDINALS = frozenset(["st", "nd", "rd", "th", "er", "ère", "eme", "ème", "º", "ª"])
_UNIT = re.compile(
    r"[^\W\d_]+[23²³]?([ ./·*^-]+[^\W\d_]+[23²³]?)*\.?|[%‰°\"'′″#]|°\s?[^\W\d_]|[%‰]\s?[^\W\d_]+|/\s?[^\W\d_]+"
)
_SI_BASES = frozenset(
    ("g", "m", "s", "W", "V", "A", "Hz", "B", "b", "l", "L", "J", "Pa", "Wh", "N", "Ω", "F", "bit", "bar", "mol")
)
_SI = {"n": 1e-9, "µ": 1e-6, "μ": 1e-6, "u": 1e-6, "m": 1e-3, "c": 1e-2, "d": 1e-1, "": 1.0}
_SI |= {"k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}


def is_money(text: str) -> bool:
    """Whether a text is a currency's symbol or code."""
    symbol = len(text) == 1 and unicodedata.category(text) == "Sc"
    return symbol or text.upper() in _CODES or text in _MONEY or bool(_DOLLARS.fullmatch(text))


def split_unit(before: str, after: str) -> tuple[float, str] | None:
    """The texts around a number as ``(scale, unit)``; None if they are not a currency, scale or unit.

    >>> split_unit("$", "M"), split_unit("", "km"), split_unit("", "万元"), split_unit("No", "")
    ((1000000.0, '$'), (1.0, 'km'), (10000.0, '元'), None)
    """
    if before and not is_money(before):
        return None
    scale, unit = 1.0, after
    for word in sorted(_SCALES, key=len, reverse=True):
        rest = after.removeprefix(word)
        if rest != after:
            rest = rest.removeprefix(".")
            if not rest or is_money(rest.strip()) or (len(word) > 1 and rest[0] == " "):
                scale, unit = _SCALES[word], rest.strip()
                break
    if unit and not is_money(unit) and not is_unit(unit):
        return None
    if before and unit:
        return scale, f"{before}{unit}" if unit.startswith("/") else f"{before} {unit}"
    return scale, before or unit


def is_unit(text: str) -> bool:
    """Whether a text after a number may be its unit: up to four words, no ordinal, no other numbers.

    >>> [is_unit(text) for text in ("km", "m2", "%", "°C", "km/h", "sq ft", "th", "B4", "-5")]
    [True, True, True, True, True, True, False, False, False]
    """
    return len(text) <= 24 and text.lower() not in _ORDINALS and _UNIT.fullmatch(text) is not None


def same_unit(one: str, other: str) -> bool:
    """Whether two spellings mean one unit: "KM" and "km", "year" and "years", "hrs." and "hr"; but not "mW" and "MW"."""
    return _key(one) == _key(other)


def _key(unit: str) -> str:
    unit = _ALIASES.get(unit, unit).rstrip(".").replace("²", "2").replace("³", "3")
    if len(unit) == 2 and (unit[0] in "mMpP" or unit[1] in "bB"):
        return unit
    unit = unit if len(unit) == 1 else unit.lower()
    return unit[:-1] if len(unit) > 2 and unit.endswith("s") and unit.isalpha() else unit


def factor(unit: str, into: str) -> float | None:
    """The factor that converts a number in ``unit`` to ``into``; None if they measure different things.

    >>> factor("g", "kg"), factor("years", "year"), factor("km", "kg")
    (0.001, 1.0, None)
    """
    if same_unit(unit, into):
        return 1.0
    sizes = {}
    for name in (unit, into):
        for cut in (0, 1):
            if name[cut:] in _SI_BASES and name[:cut] in _SI:
                sizes[name] = (_SI[name[:cut]], name[cut:])
                break
    if len(sizes) < 2 or sizes[unit][1] != sizes[into][1]:
        return None
    return sizes[unit][0] / sizes[into][0]
