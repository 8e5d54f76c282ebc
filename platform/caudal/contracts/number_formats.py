"""How numbers are written, where a contract says so: separators, percent and currency signs, signs of the negative.

The standard's `format` of a number is the width of its storage, and patterns such as `#,##0.00` leave the separators to a
locale; so a contract names them one by one, in the custom property `numberFormat`. Nothing is guessed: a group has three
digits, a sign stands where it may stand, and a text that could be read in two ways is refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from decimal import Decimal, InvalidOperation
from typing import Any, Literal, get_args

Percent = Literal["fraction", "number"]
Negative = Literal["parentheses", "trailing"]

#: A declared separator, and what else is written for it: no-break, narrow no-break and thin spaces; a typographic apostrophe.
_ALSO = {" ": " \u00a0\u202f\u2009", "'": "'\u2019"}

_SAME = {character: separator for separator, also in _ALSO.items() for character in also}

_BLANK = f"[{_ALSO[' ']}]?"
#: The inside of a character class of a regular expression.
MINUS = "\\-\u2212"
_SIGNS = f"+{MINUS}"
#: What a separator or a currency cannot be or hold, for it has a meaning of its own.
_TAKEN = "+-\u2212()%\\"


@dataclass(frozen=True)
class NumberFormat:
    """How the numbers of a column are written.

    Attributes:
        decimal: before the decimals.
        group: between groups of three digits; "" for none. A number may leave them out, all at once.
        percent: every number has a percent sign; `fraction`: `80%` is 0.8; `number`: it is 80. None: none has one.
        currency: spellings of one currency, one of which may stand before or after the number.
        negative: how negative numbers are written, beside a minus before them: `parentheses` for `(1.50)`, `trailing` for
            `1.50-`.

    """

    decimal: str = "."
    group: str = ""
    percent: Percent | None = None
    currency: tuple[str, ...] = ()
    negative: tuple[Negative, ...] = ()

    @property
    def example(self) -> str:
        """A number in the format, to show what is expected."""
        return f"1{self.group}234{self.decimal}50{'%' if self.percent else ''}"

    @property
    def groups(self) -> str:
        """Every character that separates groups."""
        return _ALSO.get(self.group, self.group)

    @property
    def accepted(self) -> str:
        """A regular expression (RE2) of the texts that are numbers in the format."""
        number, blank = self._unsigned, _BLANK
        currency = self.any_currency
        amount = f"(?:{number}|{currency}{blank}{number}|{number}{blank}{currency})" if self.currency else number
        forms = [f"[{_SIGNS}]?{blank}{amount}"]
        if "trailing" in self.negative:
            forms.append(f"{amount}{blank}[{MINUS}]")
        if "parentheses" in self.negative:
            forms.append(rf"\({blank}{amount}{blank}\)")
        if self.currency:
            forms.append(f"{currency}{blank}[{_SIGNS}]{blank}{number}")
            if "trailing" in self.negative:
                forms.append(f"{number}{blank}[{MINUS}]{blank}{currency}")
            if "parentheses" in self.negative:
                inside = rf"\({blank}{number}{blank}\)"
                forms += [f"{currency}{blank}{inside}", f"{inside}{blank}{currency}"]
        return "|".join(f"(?:{form})" for form in forms)

    @property
    def _unsigned(self) -> str:
        decimal = re.escape(self.decimal)
        whole = "(?:0|[1-9][0-9]*)" if self.percent else "[0-9]+"
        if self.group:
            start = "[1-9][0-9]{0,2}" if self.percent else "[0-9]{1,3}"
            whole = f"(?:{whole}|{start}(?:[{re.escape(self.groups)}][0-9]{{3}})+)"
        percent = f"{_BLANK}%" if self.percent else ""
        return f"(?:{whole}(?:{decimal}[0-9]*)?|{decimal}[0-9]+){percent}"

    @property
    def any_currency(self) -> str:
        """A regular expression of the currency's spellings, the longest first."""
        return f"(?:{'|'.join(re.escape(c) for c in sorted(self.currency, key=len, reverse=True))})"

    def written(self, number: str) -> str:
        """A number that came as one, not as text, as the format would have it, so that both are read alike.

        Args:
            number: with a point, perhaps with an exponent.

        Returns:
            The same number in the format; where the format would change its meaning, a text that it refuses.

        """
        try:
            exact = Decimal(number)
        except InvalidOperation:
            return number
        if not exact.is_finite() or abs(exact.adjusted()) > 400 or self.percent == "number":
            return number
        sign, digits, exponent = exact.as_tuple()
        plain = f"{Decimal((sign, digits, int(exponent) + 2)) if self.percent else exact:f}"
        return plain.replace(".", self.decimal) + ("%" if self.percent else "")


def number_format(declared: Any, logical_type: str) -> NumberFormat:
    """The format that a contract declares.

    Raises:
        ValueError: what is wrong with it.

    """
    known = [f.name for f in fields(NumberFormat)]
    if not isinstance(declared, Mapping) or not declared:
        raise ValueError(f"it is {declared!r}; expected some of {', '.join(known)}, such as {{decimal: ',', group: '.'}}")
    unknown = [str(name) for name in declared if name not in known]
    if unknown:
        raise ValueError(f"{', '.join(unknown)} is not understood; known are {', '.join(known)}")
    lists = {name: _texts(name, declared[name]) for name in ("currency", "negative") if name in declared}
    group = declared.get("group", "")
    given: dict[str, Any] = {**declared, **lists, "group": _SAME.get(group, group) if isinstance(group, str) else group}
    found = NumberFormat(**given)
    problem = _problem(found, logical_type)
    if problem:
        raise ValueError(problem)
    return found


def _texts(name: str, value: Any) -> tuple[str, ...]:
    listed = [value] if isinstance(value, str) else value
    if not isinstance(listed, list) or not all(isinstance(v, str) and v for v in listed):
        raise ValueError(f"{name} is {value!r}; expected a text or a list of texts")
    return tuple(listed)


def _problem(given: NumberFormat, logical_type: str) -> str | None:
    for name, value in (("decimal", given.decimal), ("group", given.group or ",")):
        if not isinstance(value, str) or len(value) != 1 or value.isalnum() or value in _TAKEN:
            return f"{name} is {value!r}; expected one character such as `,`, `.`, `'` or a space, in quotes"
    if given.decimal in given.groups or given.decimal == " ":
        return f"decimal and group are both {given.decimal!r}" if given.group else "decimal is a space"
    if given.percent not in (None, *get_args(Percent)):
        return f"percent is {given.percent!r}; expected `fraction` (80% is 0.8) or `number` (80% is 80)"
    unknown = [n for n in given.negative if n not in get_args(Negative)]
    if unknown:
        return f"negative is {unknown[0]!r}; expected `parentheses` or `trailing`"
    if given.percent == "fraction" and logical_type == "integer":
        return "percent is `fraction`, which an integer cannot hold; declare the column a number, or `percent: number`"
    if given.percent and given.currency:
        return "a number is a percentage or an amount of a currency, not both"
    return next((why for c in given.currency if (why := _currency_problem(c, given))), None)


def _currency_problem(currency: str, given: NumberFormat) -> str | None:
    separators = given.decimal + given.groups
    if any(c.isdigit() or c in _TAKEN for c in currency) or currency != currency.strip() or currency[0] in separators:
        return f"currency {currency!r} cannot be told from a number; expected such as `$`, `EUR`, `Rs.`"
    if currency[-1] in separators and currency[:-1] in given.currency:
        return f"currency has both {currency!r} and {currency[:-1]!r}, so that {currency}5 may be two numbers; keep one"
    return None
