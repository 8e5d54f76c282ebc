"""What is shown of classified values."""

import datetime as dt
from decimal import Decimal

import pytest

from caudal.contracts import Column
from caudal.contracts.masking import Names, is_masked, mask, mask_rejected

PERSONAL = Column("contact", "string", classification="personal")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("ana@example.org", "xxx@xxxxxxx.xxx"),
        ("Łódź 12", "xxxx 99"),
        ("", ""),
        (None, ""),
        (17850, "***"),
        (Decimal("3.50"), "***"),
        (dt.date(1970, 1, 1), "***"),
        (True, "***"),
        (["Ana"], "***"),
        ("a" * 30, "x" * 24 + "... (30 characters)"),
    ],
)
def test_a_personal_value_is_shown_as_its_shape(value, shown):
    assert mask(value, PERSONAL) == shown


def test_a_column_without_classification_or_a_public_one_is_shown_as_it_is():
    assert mask("ana", Column("contact", "string")) == "ana"
    assert mask(5, Column("contact", "integer", classification="Public")) == "5"


@pytest.mark.parametrize("classification", ["personal", "confidential", "restricted", "our own word"])
def test_every_other_classification_hides(classification):
    assert is_masked(classification)


def test_a_name_is_hidden_in_any_spelling():
    hidden = Names(["CustomerID", "e-mail"])
    assert all(name in hidden for name in ("customer_id", "CUSTOMERID", "E_Mail"))
    assert "customer" not in hidden
    assert 5 not in hidden
    assert hidden | ["name"] == Names(["name", "customer id", "email"])
    assert hidden - ["customer_id"] == Names(["email"])
    assert len(Names()) == 0


@pytest.mark.parametrize(
    ("said", "classification"),
    [
        ({"classification": "confidential", "tags": ["pii"]}, "confidential"),
        ({"tags": ["PII"]}, "personal"),
        ({"tags": ["personal-data", "crm"]}, "personal"),
        ({"customProperties": [{"property": "personal", "value": True}]}, "personal"),
        ({"customProperties": [{"property": "pii", "value": False}]}, None),
        ({"tags": ["impersonal"]}, None),
    ],
)
def test_a_contract_may_classify_by_tag_or_custom_property(contract_of, said, classification):
    (column,) = contract_of({"name": "contact", "logicalType": "string", **said}).columns
    assert column.classification == classification


@pytest.mark.parametrize(
    ("column", "value", "shown"),
    [
        ("item", "tea", "tea"),
        ("buyer", "Ana 7", "xxx 9"),
        ("buyer.name[0]", "Ana", "xxx"),
        ("buyer", "1970-01-01", "***"),
        ("buyer", None, ""),
        (None, '{"item": "tea", "buyer": "Ana"}', '{"xxxx": "xxx", "xxxxx":... (31 characters)'),
    ],
)
def test_a_rejected_value_is_as_personal_as_its_column_and_a_whole_row_as_its_table(contract_of, column, value, shown):
    contract = contract_of("item", {"name": "buyer", "logicalType": "string", "classification": "personal"})
    assert mask_rejected(contract, column, value) == shown
    assert mask_rejected(contract_of("item", "buyer"), column, value) == (value or "")
