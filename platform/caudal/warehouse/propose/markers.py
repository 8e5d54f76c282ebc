"""Texts that people write where there is no value."""

from __future__ import annotations

import re

#: Each is no value where every other value of the column is a number, a date or the like; in a column of text it may be text.
KNOWN = (
    "-", "--", "---", "\u2013", "\u2014", ".", "..", "...", "?", "*", "**", "/", "n/a", "na", "n.a.", "n. a.", "#n/a",
    "null", "(null)", "<null>", "\\n", "none", "nil", "nan", "missing", "unknown", "not available", "not applicable",
    "no data", "nodata", "tbd", "tba", "n.v.", "k.a.", "k. a.", "keine angabe", "entfällt", "s.o.", "s/d", "s.d.", "nd",
    "n.d.", "void", "#value!", "#div/0!", "#ref!", "#name?", "#num!", "#null!", "(blank)", "(leer)", "(vide)", "withheld",
    "suppressed", "redacted",
)  # fmt: skip

#: Written by programs, in text columns too.
CERTAIN = ("null", "\\n", "#n/a", "(null)", "<null>", "n/a", "na", "none", "nan")

#: Codes such as `(S)` and `[x]`, which Python and RE2 read alike.
CODE = "[(\\[][a-z]{1,3}[)\\]]|[(\\[][-\u2013.*][)\\]]"


def looks_like_one(value: str) -> bool:
    """Whether a text may stand for no value."""
    bare = value.strip().lower()
    return bare in _KNOWN or bool(re.fullmatch(CODE, bare))


def is_certain(value: str) -> bool:
    """Whether a text in a text column is likely to be one."""
    return value.strip().lower() in CERTAIN


_KNOWN = frozenset(KNOWN)
