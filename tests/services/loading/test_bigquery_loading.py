"""Lake files into raw tables of BigQuery, over HTTP to a BigQuery and a Cloud Storage server: each row once, whatever happens."""

import datetime as dt
import io
import json
import zipfile
from dataclasses import replace
from decimal import Decimal

import pyarrow as pa
import pytest

from caudal.lake.ledger import Ledger
from caudal.store import open_store
from caudal.warehouse import repairs, versions
from caudal.warehouse.bigquery import limits
from caudal.warehouse.bigquery.storable import NULL_ITEM
from caudal.warehouse.candidate import publish_tables
from caudal.warehouse.loading import ChangedTypes
from caudal.warehouse.parts import normalize_many
from caudal.warehouse.raw_tables import raw, raw_tables, rejects
from caudal.warehouse.upkeep import Settings, tend
from tests.conftest import SALES_CONTRACT
from tests.services.loading.looking import load

HEADER = "item,units,amount\n"
EVOLVING = "\ncustomProperties: [{property: driftPolicy, value: evolve}]\n"


def left_in_bucket(env):
    return [found.path for found in open_store(env.cloud.folder("parts")).list("")]


def test_new_files_are_appended_by_one_free_job_and_leave_nothing_behind(env, declare, drop, ask, bigquery):
    dataset = declare(owners=("team:stall",))
    for n in range(5):
        drop(f"stall/sales/{n}.csv", HEADER + f"apple,{n},1.50\npear,,\n")
    loaded = load(env, dataset)
    assert (loaded.rows_read, loaded.rows_loaded) == (10, 10)
    rows = ask("SELECT item, units, amount, _row FROM {t} ORDER BY _file, _row LIMIT 2", t="loading.stall__sales")
    assert rows == [("apple", 0, Decimal("1.50"), 2), ("pear", None, None, 3)]
    commits = [job for job in loaded.jobs if "lake_files" not in job.id]
    assert [(job.kind, job.rows, job.bytes_billed) for job in commits] == [("load", 10, 0)]
    job = bigquery.client().get_job(commits[0].id)
    assert job.labels.items() >= {"asset": "raw_stall_sales", "run": "run", "owner": "team_stall"}.items()
    table = bigquery.client().get_table(env.cloud.table("loading.stall__sales"))
    assert table.clustering_fields == ["_file"]
    assert [(f.name, f.field_type) for f in table.schema[-4:]] == [
        ("_file", "STRING"), ("_version", "STRING"), ("_row", "INTEGER"), ("_loaded_at", "TIMESTAMP"),
    ]  # fmt: skip
    assert left_in_bucket(env) == []
    assert ask("SELECT path, state, rows_loaded FROM {t} ORDER BY path LIMIT 1", t="caudal.lake_files__stall__sales") == [
        ("stall/sales/0.csv", "loaded", 2)
    ]
    again = load(env, dataset)
    assert (again.files, again.jobs, again.raw_version) == ([], (), loaded.raw_version)


def test_a_changed_file_replaces_its_rows_and_a_deleted_one_takes_them_away(env, declare, drop, sold):
    dataset = declare(on_delete="remove")
    drop("stall/sales/a.csv", HEADER + "apple,1,1.50\n")
    drop("stall/sales/it's.csv", HEADER + "pear,2,2.00\n")
    first = load(env, dataset)
    drop("stall/sales/it's.csv", HEADER + "plum,3,3.00\nfig,4,4.00\n")
    second = load(env, dataset)
    assert sold() == [("a.csv", "apple", 1), ("it's.csv", "plum", 3), ("it's.csv", "fig", 4)]
    open_store(env.lake_url).delete("stall/sales/a.csv")
    third = load(env, dataset)
    assert sold() == [("it's.csv", "plum", 3), ("it's.csv", "fig", 4)]
    assert first.raw_version < second.raw_version < third.raw_version
    assert left_in_bucket(env) == []


def test_members_of_archives_are_replaced_with_their_file(env, declare, drop, ask):
    dataset = declare(path="*")
    drop("stall/sales/two.zip", zipped({"a.csv": HEADER + "apple,1,1\n", "b.csv": HEADER + "pear,2,2\n"}))
    drop("stall/sales/two.zi", HEADER + "kept,9,9\n")
    load(env, dataset)
    drop("stall/sales/two.zip", zipped({"c.csv": HEADER + "fig,3,3\n"}))
    load(env, dataset)
    assert ask("SELECT item FROM {t} ORDER BY item", t="loading.stall__sales") == [("fig",), ("kept",)]


def test_rejects_are_a_table_and_disappear_when_their_file_is_repaired(env, declare, drop, ask, tmp_path):
    dataset = declare()
    drop("stall/sales/a.csv", HEADER + "pear,many,2.00\napple,1,1\n")
    drop("stall/sales/empty.csv", "")
    loaded = load(env, dataset)
    assert (loaded.rows_loaded, loaded.rows_rejected, len(loaded.quarantined)) == (1, 1, 1)
    assert [j.kind for j in loaded.jobs] == ["load"] * 3
    found = ask("SELECT _row, `column`, value FROM {t} ORDER BY _file", t="quarantine.stall__sales")
    assert found == [(2, "units", "many"), (None, None, None)]
    tables = raw_tables(env)
    assert tables.blamed(rejects(dataset)) == {"units": 1}
    assert len(tables.read_rows(rejects(dataset), ["_file", "reason"], 1)) == 1
    assert repairs.export(env, dataset, tmp_path / "repair.csv") == repairs.Exported(1, 1)
    drop("stall/sales/a.csv", HEADER + "pear,2,2.00\n")
    drop("stall/sales/empty.csv", HEADER + "plum,3,3\n")
    load(env, dataset)
    assert ask("SELECT count(*) FROM {t}", t="quarantine.stall__sales") == [(0,)]
    assert ask("SELECT item FROM {t} ORDER BY 1", t="loading.stall__sales") == [("pear",), ("plum",)]


def test_rejects_expire(env, declare, drop, ask):
    dataset = declare(rejects_retention_days=7, on_delete="remove")
    drop("stall/sales/a.csv", HEADER + "pear,many,2.00\n")
    load(env, dataset)
    tables, past = raw_tables(env), dt.datetime(2000, 1, 1, tzinfo=dt.UTC)
    assert not tables.has_expired(rejects(dataset), past, ())
    assert list(tend(env, dataset, Settings())) == []
    assert tables.expire(rejects(dataset), dt.datetime.now(dt.UTC) + dt.timedelta(days=1), ()) == 1
    assert ask("SELECT count(*) FROM {t}", t="quarantine.stall__sales") == [(0,)]


def test_columns_that_files_bring_are_added_and_old_ones_stay(env, declare, drop, ask):
    evolving = declare(SALES_CONTRACT + EVOLVING)
    drop("stall/sales/a.csv", HEADER + "apple,1,1\n")
    load(env, evolving)
    drop("stall/sales/b.csv", "item,units,amount,colour\npear,2,2,green\n")
    load(env, evolving)
    columns = "SELECT item, units, colour FROM {t} ORDER BY item"
    assert ask(columns, t="loading.stall__sales") == [("apple", 1, None), ("pear", 2, "green")]
    narrow = declare(
        SALES_CONTRACT.replace("      - {name: units, logicalType: integer, logicalTypeOptions: {minimum: 0}}\n", "")
    )
    drop("stall/sales/c.csv", "item,amount\nfig,3\n")
    load(env, narrow)
    assert ask(columns, t="loading.stall__sales")[1] == ("fig", None, None)


def test_a_changed_type_makes_the_table_anew_and_refuses_to_lose_rows(env, declare, drop, ask, bigquery):
    dataset = declare()
    drop("stall/sales/a.csv", HEADER + "apple,1,1\n")
    drop("stall/sales/b.csv", HEADER + "pear,2,2\n")
    load(env, dataset)
    other = declare(SALES_CONTRACT.replace("logicalType: integer, logicalTypeOptions: {minimum: 0}", "logicalType: string"))
    open_store(env.lake_url).delete("stall/sales/b.csv")
    with pytest.raises(ChangedTypes, match=r"`units`: INTEGER -> STRING.*stall/sales/b.csv"):
        load(env, other)
    assert ask("SELECT units FROM {t} ORDER BY 1", t="loading.stall__sales") == [(1,), (2,)]
    drop("stall/sales/b.csv", HEADER + "pear,two,2\n")
    load(env, other)
    assert ask("SELECT units FROM {t} ORDER BY 1", t="loading.stall__sales") == [("1",), ("two",)]


def test_a_column_of_another_name_is_not_empty_in_older_files(env, declare, drop, ask):
    drop("stall/sales/a.csv", HEADER + "apple,1,1\n")
    load(env, declare())
    older = "customProperties: [{property: renamedFrom, value: [units]}]"
    renamed = declare(SALES_CONTRACT.replace("{name: units,", f"{{name: pieces, {older},"))
    drop("stall/sales/b.csv", "item,pieces,amount\npear,2,2\n")
    load(env, renamed)
    assert ask("SELECT item, pieces FROM {t} ORDER BY 1", t="loading.stall__sales") == [("apple", 1), ("pear", 2)]


PARTITIONED = """
apiVersion: v3.1.0
kind: DataContract
id: sales
version: 1.0.0
status: active
customProperties:
  - {property: partitionBy, value: sold_on}
  - {property: partitionGranularity, value: day}
  - {property: clusterBy, value: [item, _file]}
  - {property: requirePartitionFilter, value: true}
schema:
  - name: sales
    properties:
      - {name: item, logicalType: string}
      - {name: units, logicalType: integer}
      - {name: sold_on, logicalType: date}
"""
DATED = "item,units,sold_on\n"


def test_a_table_is_partitioned_and_clustered_as_the_contract_says(env, declare, drop, ask, bigquery):
    dataset = declare(PARTITIONED)
    drop("stall/sales/a.csv", DATED + "apple,1,2024-01-01\npear,2,2024-01-02\nfig,3,\n")
    load(env, dataset)
    table = bigquery.client().get_table(env.cloud.table("loading.stall__sales"))
    assert (table.time_partitioning.type_, table.time_partitioning.field) == ("DAY", "sold_on")
    assert (table.clustering_fields, table.require_partition_filter) == (["item", "_file"], True)
    drop("stall/sales/a.csv", DATED + "apple,5,2024-01-01\n")
    load(env, dataset)
    everything = "SELECT item, units FROM {t} WHERE sold_on IS NULL OR sold_on IS NOT NULL"
    assert ask(everything, t="loading.stall__sales") == [("apple", 5)]
    assert raw_tables(env).files_with_rows(raw(dataset)) == {"stall/sales/a.csv"}
    monthly = declare(PARTITIONED.replace("value: day", "value: month").replace("[item, _file]", "[_file]"))
    load(env, monthly)
    table = bigquery.client().get_table(env.cloud.table("loading.stall__sales"))
    assert (table.time_partitioning.type_, table.clustering_fields) == ("MONTH", ["_file"])
    assert ask(everything, t="loading.stall__sales") == [("apple", 5)]


def test_what_is_more_than_a_job_may_load_is_loaded_in_several_and_seen_at_once(env, declare, drop, ask, monkeypatch):
    monkeypatch.setattr(limits, "MOST_URIS", 1)
    monkeypatch.setattr("caudal.warehouse.batch.normalize_many", one_by_one)
    dataset = declare()
    for n in range(3):
        drop(f"stall/sales/{n}.csv", HEADER + f"apple,{n},1\n")
    loaded = load(env, dataset)
    kinds = [(job.kind, "staging" in job.id) for job in loaded.jobs if "lake_files" not in job.id]
    assert kinds == [("load", True)] * 3 + [("query", False)]
    assert ask("SELECT units FROM {t} ORDER BY 1", t="loading.stall__sales") == [(0,), (1,), (2,)]


def test_more_partitions_than_a_statement_may_write_to_are_written_in_ranges(env, declare, drop, ask, monkeypatch):
    monkeypatch.setattr("caudal.warehouse.bigquery.partitions.MOST_PARTITIONS", 3)
    dataset = declare(PARTITIONED)
    days = [dt.date(2024, 1, 1) + dt.timedelta(days=n) for n in range(10)]
    drop("stall/sales/a.csv", DATED + "".join(f"apple,{n},{day}\n" for n, day in enumerate(days)) + "pear,99,\n")
    loaded = load(env, dataset)
    assert [j.kind for j in loaded.jobs if "lake_files" not in j.id] == ["load", "query"]
    everything = "SELECT units FROM {t} WHERE sold_on IS NULL OR sold_on IS NOT NULL ORDER BY 1"
    assert ask(everything, t="loading.stall__sales") == [*((n,) for n in range(10)), (99,)]


@pytest.mark.parametrize("contract", [SALES_CONTRACT, PARTITIONED], ids=["plain", "partitions must be named"])
def test_a_new_machine_takes_over_what_was_loaded_and_published_and_loads_only_what_is_new(
    env, declare, drop, ask, tmp_path, contract
):
    dataset, dated = declare(contract, path="*"), contract is PARTITIONED
    header, end = (DATED, "2024-01-02") if dated else (HEADER, "1.50")
    drop("stall/sales/a.csv", header + f"apple,1,{end}\nbad,x,{end}\n")
    drop("stall/sales/b.csv", header + f"pear,2,{end}\n")
    drop("stall/sales/two.zip", zipped({"c.csv": header + f"fig,3,{end}\n", "d.csv": header + f"plum,4,{end}\n"}))
    first = load(env, dataset)
    publish_tables(env, {"marts.daily": pa.table({"n": [1, 2]})})
    new = replace(env, data=tmp_path / "new machine")
    assert versions.current(new) == versions.current(env)
    taken = load(new, dataset)
    assert (taken.files, taken.taken_over, taken.raw_version) == ([], 3, first.raw_version)
    assert Ledger(new.state / "ledger.db").totals(dataset.id) == Ledger(env.state / "ledger.db").totals(dataset.id)
    assert [job.kind for job in taken.jobs if "lake_files" not in job.id] == ["query", "query"]  # What the tables hold.
    drop("stall/sales/b.csv", header + f"pear,20,{end}\n")
    drop("stall/sales/e.csv", header + f"kiwi,5,{end}\n")
    assert [f.path for f, _ in load(new, dataset).files] == ["stall/sales/b.csv", "stall/sales/e.csv"]
    where = "WHERE sold_on IS NOT NULL" if dated else ""
    found = ask(f"SELECT item, units FROM {{t}} {where} ORDER BY units", t="loading.stall__sales")
    assert found == [("apple", 1), ("fig", 3), ("plum", 4), ("kiwi", 5), ("pear", 20)]
    publish_tables(new, {"marts.daily": pa.table({"n": [3]})})
    assert [kept.name for kept in versions.kept(new)] == [kept.name for kept in versions.kept(env)]
    assert len(versions.kept(new)) == 2


def test_every_type_arrives_as_it_was_declared(env, declare, drop, ask):
    dataset = declare(TYPES, format="jsonl", path="*")
    row = {
        "a": "é'\"", "b": 2**63 - 1, "c": "12345678901234567890123456789.123456789", "d": "1.25", "e": 0.1, "f": True,
        "g": "2024-02-29", "h": "23:59:59.5", "i": "2024-02-29T01:02:03.000004", "j": "2024-02-29T01:02:03+01:00",
        "k": {"n": 1.10}, "l": ["x", "y"], "m": [{"sku": "s", "price": "1.5"}], "n": [[1, 2], [3]],
    }  # fmt: skip
    drop("stall/sales/a.jsonl", json.dumps(row) + "\n" + json.dumps({"a": "none"}) + "\n")
    loaded = load(env, dataset)
    assert (loaded.rows_loaded, loaded.rows_rejected) == (2, 0), loaded.files
    (found,) = ask("SELECT * EXCEPT (_file, _version, _row, _loaded_at) FROM {t} WHERE b IS NOT NULL", t="loading.stall__sales")
    assert found[:11] == (
        "é'\"", 2**63 - 1, Decimal(row["c"]), Decimal("1.25"), 0.1, True, dt.date(2024, 2, 29), dt.time(23, 59, 59, 500_000),
        dt.datetime.fromisoformat(row["i"]), dt.datetime(2024, 2, 29, 0, 2, 3, tzinfo=dt.UTC), '{"n":1.1}',
    )  # fmt: skip
    assert found[11:] == (["x", "y"], [{"sku": "s", "price": Decimal("1.5")}], ["[1, 2]", "[3]"])
    assert ask("SELECT c, ARRAY_LENGTH(l) FROM {t} WHERE b IS NULL", t="loading.stall__sales")[0][0] is None
    assert load(env, dataset).files == []


def test_an_item_without_a_value_is_a_reject_and_keeps_no_other_row_from_being_loaded(env, declare, drop, ask):
    dataset = declare(TYPES, format="jsonl", path="*", max_rejected_share=0.9)
    rows = [{"a": "x", "l": ["1", None]}, {"a": "y", "l": ["1"]}, {"a": "z", "m": [None]}]
    drop("stall/sales/a.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    loaded = load(env, dataset)
    assert (loaded.rows_loaded, loaded.rows_rejected) == (1, 2)
    assert ask("SELECT a, l FROM {t}", t="loading.stall__sales") == [("y", ["1"])]
    told = ask("SELECT _row, `column`, reason FROM {t} ORDER BY 1", t="quarantine.stall__sales")
    assert told == [(1, "l", f"l[1]: {NULL_ITEM}"), (3, "m", f"m[0]: {NULL_ITEM}")]


TYPES = """
apiVersion: v3.1.0
kind: DataContract
id: sales
version: 1.0.0
status: active
customProperties: [{property: driftPolicy, value: ignore}]
schema:
  - name: sales
    properties:
      - {name: a, logicalType: string, description: Text., required: true}
      - {name: b, logicalType: integer}
      - {name: c, logicalType: number}
      - {name: d, logicalType: number, physicalType: "DECIMAL(10,2)"}
      - {name: e, logicalType: number, physicalType: DOUBLE}
      - {name: f, logicalType: boolean}
      - {name: g, logicalType: date}
      - {name: h, logicalType: time}
      - {name: i, logicalType: timestamp}
      - {name: j, logicalType: timestamp, logicalTypeOptions: {timezone: true}}
      - {name: k, logicalType: object}
      - {name: l, logicalType: array, items: {logicalType: string}}
      - name: m
        logicalType: array
        items:
          logicalType: object
          properties:
            - {name: sku, logicalType: string, required: true}
            - {name: price, logicalType: number, physicalType: "DECIMAL(8,2)"}
      - {name: n, logicalType: array, items: {logicalType: array, items: {logicalType: integer}}}
"""


def one_by_one(connection, dataset, files, **given):
    """A part for each file."""
    for file in files:
        yield from normalize_many(connection, dataset, [file], **given)


def zipped(members):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, text in members.items():
            archive.writestr(name, text)
    return content.getvalue()
