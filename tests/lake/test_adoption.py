"""Columns that files brought are written into their contract, and nothing else in it is changed."""

import pytest
import yaml

from caudal.contracts import Column, read_contract
from caudal.lake.adoption import Refused, with_columns, write_columns
from tests.conftest import SALES_CONTRACT

NEW = [
    Column("colour", "string"),
    Column("price", "number", precision=8, scale=2),
    Column("parts", "array", items=Column("items", "object", fields=(Column("no", "integer"), Column("made of", "string")))),
]

CONTRACT = """\
# Kept by the warehouse team.
apiVersion: v3.1.0
kind: DataContract
id: stock
version: 1.4.2   # the second of the year
status: active
schema:
  - name: stock
    properties:
      - {name: sku, logicalType: string, primaryKey: true}   # as printed on the box
      # pieces, not boxes
      - name: units
        logicalType: integer
        description: |
          How many there are.
"""


def test_columns_are_added_at_the_end_and_every_other_line_stays(tmp_path):
    path = tmp_path / "stock.odcs.yaml"
    path.write_text(CONTRACT + "team: {name: stores}\n")
    write_columns(path, NEW)
    contract = read_contract(path)
    assert (contract.version, contract.owner) == ("1.5.0", "stores")
    assert list(contract.columns[2:]) == NEW
    lines = path.read_text().splitlines()
    added = [
        "      - {name: colour, logicalType: string}",
        "      - {name: price, logicalType: number, physicalType: 'DECIMAL(8,2)'}",
    ]
    at = lines.index(added[0])
    assert lines[at - 1 : at + 3] == ["          How many there are.", *added, "      - name: parts"]
    kept = [line for line in lines if line in CONTRACT.splitlines()]
    assert [line for line in CONTRACT.splitlines() if line not in kept] == ["version: 1.4.2   # the second of the year"]
    assert "version: 1.5.0   # the second of the year" in lines


STYLES = [
    ("no newline at the end", CONTRACT.rstrip("\n").replace("|\n          ", "")),
    ("lines that end as on Windows", CONTRACT.replace("\n", "\r\n")),
    ("a flow list", CONTRACT[: CONTRACT.index("    properties")] + "    properties: [{name: sku, logicalType: string}, ]  # all\n"),
    ("a list that is not indented", CONTRACT.replace("      - ", "    - ").replace("        ", "      ").replace("          How", "        How")),
    ("what follows a comment", CONTRACT + "      # the end\n\nteam: {name: stores}\n"),
    ("a folded text", CONTRACT.replace("|\n", ">-\n") + "\n\n"),
    ("quotes", CONTRACT.replace("1.4.2", "'1.4.2'")),
]  # fmt: skip


@pytest.mark.parametrize("text", [s[1] for s in STYLES], ids=[s[0] for s in STYLES])
def test_however_the_yaml_is_written_it_says_the_same_and_more(text):
    written = with_columns(text, NEW)
    before, after = yaml.safe_load(text), yaml.safe_load(written)
    assert after["schema"][0]["properties"][: -len(NEW)] == before["schema"][0]["properties"]
    assert [p["name"] for p in after["schema"][0]["properties"][-len(NEW) :]] == [c.name for c in NEW]
    assert after["version"] == "1.5.0"
    left = [line for line in text.splitlines() if "version" not in line and "properties" not in line]
    assert [line for line in left if line not in written.splitlines()] == []
    assert ("\r\n" in text) == ("\r\n" in written)
    assert written.count("\n") == written.count("\r\n") or "\r\n" not in written


@pytest.mark.parametrize(
    ("version", "expected"),
    [("1.9", "1.10"), ("'1.9'", "1.10"), ("v2.0.7", "v2.1.0"), ("2017-01-31", "2017-01-31"), ("draft", "draft")],
)
def test_the_minor_version_is_the_next_one_and_stays_text(tmp_path, version, expected):
    path = tmp_path / "stock.odcs.yaml"
    path.write_text(CONTRACT.replace("1.4.2", version))
    write_columns(path, NEW[:1])
    assert read_contract(path).version == expected


def test_yaml_that_cannot_be_edited_safely_is_left_alone_and_what_to_add_is_told(tmp_path):
    path = tmp_path / "stock.odcs.yaml"
    text = CONTRACT.replace("customProperties", "").replace(
        "      - name: units", "      - &first {name: first, logicalType: string}\n      - name: units"
    )
    text = text[: text.index("        description")] + "        customProperties: [{property: unit, value: *first}]\n"
    aliased = text + "        description: &d text\ntags: [*d]\n"
    path.write_text(aliased.replace("        description: &d text\ntags: [*d]\n", "        businessName: *first\n"))
    before = path.read_text()
    with pytest.raises(Refused, match=r"by hand:\n- \{name: colour, logicalType: string\}"):
        write_columns(path, NEW[:1])
    assert path.read_text() == before


def test_a_column_that_a_load_brought_is_adopted_once(env, declare, drop):
    from caudal.lake.adoption import adopt
    from caudal.warehouse.loading import load_pending

    evolving = SALES_CONTRACT.replace("schema:", "customProperties: [{property: driftPolicy, value: evolve}]\nschema:")
    dataset = declare(evolving)
    drop("stall/sales/a.csv", "item,units,amount,colour\npear,1,2.50,green\n")
    load_pending(env, dataset, "run")
    assert adopt(env, dataset) == ["colour"]
    assert adopt(env, declare(dataset.contract.path.read_text())) == []
    assert read_contract(dataset.contract.path).columns[-1] == Column("colour", "string")
