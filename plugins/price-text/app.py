"""Prices in what people write, in the ways that they are written in Europe, America and China."""

import json
import re

from componentize_py_types import Err
from wit_world import exports
from wit_world.imports.types import Error_Invalid, Event

SIGNS = {"€": "EUR", "£": "GBP", "元": "CNY", "￥": "CNY", "¥": "CNY", "$": "USD", "zł": "PLN", "kr": "SEK"}
CODES = "EUR|USD|GBP|CNY|RMB|JPY|CHF|PLN|SEK|DKK|NOK|CAD|AUD"
MARK = rf"(?:€|£|元|￥|¥|\$|zł|kr\b|(?:{CODES})\b)"
NUMBER = r"\d{1,3}(?:[.,' ]\d{3})+(?:[.,]\d{1,2})?|\d+(?:[.,]\d{1,2})?"
PRICE = re.compile(rf"(?P<before>{MARK})\s?(?P<a>{NUMBER})|(?P<b>{NUMBER})\s?(?P<after>{MARK})", re.IGNORECASE)


def amount(number: str) -> str:
    """`1.299,50` and `1,299.50` as `1299.50`; the last sign with one or two digits behind it is the point."""
    whole, cents = re.fullmatch(r"(.*?)(?:[.,](\d{1,2}))?", number).groups()
    whole = re.sub(r"\D", "", whole)
    return f"{whole}.{cents}" if cents else whole


def currency(mark: str, own: str | None) -> str:
    code = SIGNS.get(mark.lower(), mark.upper())
    if own and mark in ("$", "¥", "￥", "kr"):
        return own
    return "CNY" if code == "RMB" else code


def extract(text: str, own: str | None) -> list[str]:
    found = []
    for price in PRICE.finditer(text):
        number, mark = price["a"] or price["b"], price["before"] or price["after"]
        found.append(f"{amount(number)} {currency(mark, own)}")
    return found[:50]


class Capabilities(exports.Capabilities):
    def answer(self, name: str, input: str, event: Event) -> str:
        if name != "price.extract":
            raise Err(Error_Invalid(f"there is no {name} here"))
        asked = json.loads(input)
        return json.dumps({"prices": extract(asked["text"], asked.get("currency"))})
