"""Three messy files, from `caudal lake propose` to a loaded table: declared by a company, loaded, every value right."""

import csv
import datetime as dt
import gzip
import io
import json
import shutil
import sys
from decimal import Decimal
from pathlib import Path

import openpyxl
import pytest
from deltalake import DeltaTable
from typer.testing import CliRunner

from caudal.cli import app
from caudal.environment import Environment

MESSY = Path(__file__).resolve().parents[1] / "lake" / "messy"
COMPANY = "bazaar"


@pytest.fixture
def company(tmp_path, monkeypatch):
    """An empty company, `bazaar`: its folder of definitions and its environment."""
    package = tmp_path / "companies" / COMPANY
    (package / "defs").mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "defs" / "__init__.py").touch()
    (package / "definitions.py").write_text(
        "import dagster as dg\nfrom caudal.runtime.location import code_location\n\n\n"
        f"@dg.definitions\ndef defs():\n    return code_location('{COMPANY}')\n"
    )
    monkeypatch.setenv("CAUDAL_ROOT", str(tmp_path / "companies"))
    monkeypatch.setenv("CAUDAL_DATA", str(tmp_path / "data"))
    monkeypatch.syspath_prepend(str(tmp_path / "companies"))
    yield package / "defs"
    for name in [n for n in sys.modules if n.partition(".")[0] == COMPANY]:
        del sys.modules[name]


@pytest.fixture
def loaded(company, tmp_path):
    """Propose, write, load the definitions, drop the file, load it: the rows of the raw table by their places, and the YAML."""
    from caudal.lake.component import declared_datasets
    from caudal.runtime.location import component_tree, load_definitions
    from caudal.warehouse.loading import load_pending

    def load(name, *options):
        into = company / "sales"
        told = CliRunner().invoke(app, ["lake", "propose", str(MESSY / name), "--write", str(into), *options])
        assert told.exit_code == 0, told.output
        assert load_definitions(COMPANY).resolve_asset_graph() is not None
        env = Environment.current(COMPANY)
        (dataset,) = declared_datasets(component_tree(env))
        checked = CliRunner().invoke(app, ["lake", "check", str(MESSY / name), "-c", COMPANY])
        assert checked.exit_code == 0, checked.output
        (env.lake / dataset.prefix).mkdir(parents=True)
        shutil.copy(MESSY / name, env.lake / dataset.prefix / name)
        result = load_pending(env, dataset, "run")
        assert result.quarantined == []
        assert result.rows_rejected == 0
        rows = DeltaTable(env.raw / dataset.table).to_pyarrow_table().to_pylist()
        rows = sorted(rows, key=lambda r: (r["_file"], r["_row"]))
        told_rows = f"{result.rows_loaded:,} rows of 1 file: all fit"
        assert told_rows in told.stderr
        named = [{n: r[n] for n in dataset.contract.column_names} for r in rows]
        return named, (into / "defs.yaml").read_text(), (into / "contracts" / f"{dataset.name}.odcs.yaml").read_text()

    return load


def german(text):
    return Decimal(text.replace(".", "").replace(",", "."))


def test_a_german_report_with_preamble_footer_and_markers(loaded):
    rows, defs, contract = loaded("umsatz_2025-01-03.csv", "--source", "kassen", "--dataset", "umsatz")
    text = (MESSY / "umsatz_2025-01-03.csv").read_bytes().decode("cp1252")
    lines = text.replace("\r\n", "\n").split("\n")
    header, *records = list(csv.reader(io.StringIO("\n".join(lines[3:-2])), delimiter=";"))
    expected = [
        {
            "Beleg_Nr": number,
            "Datum": dt.datetime.strptime(day, "%d.%m.%Y").date(),
            "Kunde": customer,
            "PLZ": code,
            "E_Mail": mail or None,
            "Menge": int(count),
            "Betrag": None if amount == "-" else german(amount),
            "Rabatt": None if discount == "-" else german(discount.removesuffix(" %")) / 100,
            "Bezahlt": {"ja": True, "nein": False}[paid],
        }
        for number, day, customer, code, mail, count, amount, discount, paid in records
    ]
    assert [name.replace("-", "_") for name in header] == list(expected[0])
    assert len(expected) == 40
    assert rows == expected
    for told in (
        'delimiter: ";"', "skip_lines: 3  # before the table stands `Umsatzbericht", "skip_footer: 1  # unsure:",
        "encoding: cp1252  # unsure: no UTF-8", 'path: "umsatz_{day:%Y-%m-%d}.csv"', 'start: "2025-01-03"',
    ):  # fmt: skip
        assert told in defs
    for told in (
        "40 of 40 values have a leading zero: kept as string", 'unsure: 3 of 40 values are "-"; taken as no value',
        "classification: personal  # unsure: the values look like e-mail addresses", "{format: dd.MM.yyyy}",
        "primaryKey: true  # unsure: unique over the 40 rows looked at",
    ):  # fmt: skip
        assert told in contract


def test_a_workbook_with_titles_two_header_rows_percent_texts_and_footnotes_in_two_sheets(loaded):
    rows, defs, contract = loaded("establishments.xlsx", "--source", "survey", "--dataset", "establishments")
    expected = []
    for sheet in openpyxl.load_workbook(MESSY / "establishments.xlsx"):
        for code, name, count, share, jobs, growth in sheet.iter_rows(6, 17, values_only=True):
            expected.append(
                {
                    "Region code": code,
                    "Region name": name,
                    "Establishments number": count,
                    "Establishments share": Decimal(share.removesuffix("%")) / 100,
                    "Jobs number": None if jobs == "(S)" else jobs,
                    "Jobs growth": None if growth in ("(S)", "-") else Decimal(growth.removesuffix("%")) / 100,
                }
            )
    assert len(expected) == 24
    assert rows == expected
    for told in ("sheets: [Year 2023, Year 2024]", "header_row: 4", "header_rows: 2", "ends_at: [blank_row]  # unsure"):
        assert told in defs
    assert 'unsure: 4 of 24 values are "(S)"; taken as no value' in contract
    assert "80 % is kept as 0.8" in contract


@pytest.mark.parametrize("name", ["events.json.gz", "events.jsonl.gz"])
def test_packed_json_with_dynamic_and_missing_keys_and_numbers_as_text(loaded, name):
    rows, defs, contract = loaded(name, "--source", "web", "--dataset", "events")
    text = gzip.decompress((MESSY / name).read_bytes()).decode()
    events = json.loads(text) if name == "events.json.gz" else [json.loads(line) for line in text.splitlines()]
    found = [{**r, "props": json.loads(r["props"])} for r in rows]
    assert found == [
        {
            "id": e["id"],
            "at": dt.datetime.fromisoformat(e["at"]),
            "user": e["user"],
            "amount": Decimal(e["amount"]) if "amount" in e else None,
            "props": e["props"],
            "tags": e["tags"],
            "referrer": e.get("referrer"),
        }
        for e in events
    ]
    assert f"format: {'json' if name == 'events.json.gz' else 'jsonl'}" in defs
    assert "value: evolve  # not every row or file has every column" in contract
    assert "kept as JSON text: not every object has `exp_0`" in contract
    assert "30 of 30 values have a leading zero: kept as string" in contract
