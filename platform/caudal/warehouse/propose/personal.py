"""Columns that may tell of a person, by their names and values. A suspicion, for a person to judge."""

from __future__ import annotations

import re
from collections.abc import Sequence

#: Of the values looked at, so many must be of the kind.
_MOST = 0.6

_BY_VALUE = (
    ("e-mail addresses", re.compile(r"[^@\s]+@[^@\s]+\.[A-Za-z]{2,}")),
    (
        "phone numbers",
        re.compile(r"(?:\+\d{1,3}|00\d{2}|\(0?\d{2,5}\)|0\d{2,4}[ /-])[ \d()/-]{5,16}|\(?\d{3}\)?[ -]\d{3}-\d{4}"),
    ),
    ("IBANs", re.compile(r"[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){3,7}(?: ?[A-Z0-9]{1,3})?")),
    ("IP addresses", re.compile(r"(?:\d{1,3}\.){3}\d{1,3}")),
)

#: Words of a column's name, in lower case and with underscores between.
_BY_NAME = tuple(
    (what, re.compile(rf"(?:^|_)(?:{words})(?:$|_|\d)"))
    for what, words in (
        ("an e-mail address", "e_?mail|mail"),
        ("a phone number", "phone|telephone|telefon|tel|mobile|handy|fax"),
        ("a person's name", "(?:first|last|full|family|given|middle|customer)_?name|surname|vorname|nachname|kunde|contact"),
        ("an address", "street|strasse|address|adresse|hausnummer|zip|postal_?code|postcode|plz"),
        ("a day of birth", "birth_?da(?:te|y)|date_of_birth|dob|geburts(?:datum|tag)"),
        ("an identity number", "ssn|passport|tax_id|national_id|iban"),
        ("a person", "(?:customer|user|household|patient|employee|person)_?id|kunden_?(?:nummer|nr)|user_?name|ip"),
    )
)  # fmt: skip


def suspicion(name: str, values: Sequence[str]) -> str | None:
    """Why a column may be personal data, or None.

    Args:
        values: some of it, as text.

    """
    bare = [v.strip() for v in values if v.strip()]
    for what, pattern in _BY_VALUE:
        if bare and sum(bool(pattern.fullmatch(v)) for v in bare) >= len(bare) * _MOST:
            return f"the values look like {what}"
    words = re.sub(r"[\W_]+", "_", re.sub(r"(?<=[a-zß-ÿ])(?=[A-Z])", "_", name).replace("ß", "ss").lower())
    return next((f"by its name {what}" for what, pattern in _BY_NAME if pattern.search(words)), None)
