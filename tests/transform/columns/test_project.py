"""The columns of a whole project: in the order of its models, kept, and read again where something changed."""

import json
import time

import pytest

from caudal.transform.columns.project import READING, read_columns
from caudal.transform.columns.stored import Stored
from caudal.transform.columns.walk import Graph, NoSuchColumn, as_mermaid, as_text, as_value, walk

CONTRACTED = {"meta": {"contract": "till 1.0.0"}}


def node(name, *reads, kind="model", columns=(), folder="marts/sales", **config):
    resource = {
        "unique_id": f"{kind}.stall.{name}", "resource_type": kind, "name": name, "alias": name, "schema": "marts", "database": "warehouse",
        "path": f"{folder}/{name}.sql", "config": {"materialized": "table", **config}, "depends_on": {"nodes": list(reads)},
        "columns": {c: {"name": c} for c in columns},
    }  # fmt: skip
    return resource["unique_id"], resource


def source(name, columns, **config):
    unique_id = f"source.stall.till.{name}"
    return unique_id, {
        "unique_id": unique_id, "resource_type": "source", "source_name": "till", "name": name, "identifier": f"till__{name}",
        "schema": "raw", "database": "warehouse", "config": config, "columns": {c: {"name": c} for c in columns},
    }  # fmt: skip


def project(queries, nodes, sources=(), adapter="duckdb"):
    document = {"metadata": {"project_name": "stall", "adapter_type": adapter}, "nodes": dict(nodes), "sources": dict(sources)}
    rendered = {f"model.stall.{n}": {"sql": [q] if isinstance(q, str) else q} for n, q in queries.items() if q is not None}
    return document, rendered


def made_of(stored, key):
    table = stored.tables[key]
    return {
        c.name: {f"{'=' if copy else '~'}{'.'.join(ref)}" for ref, copy in c.origins.items()} for c in table.columns.values()
    }


SALES = source("sales", ["Sale", "amount", "_file"], **CONTRACTED)


def test_a_star_shows_what_the_contract_and_the_model_above_declare():
    document, rendered = project(
        {"one": 'select * from "warehouse"."raw"."till__sales"', "two": "select * exclude (_file) from marts.one"},
        [node("one", SALES[0]), node("two", "model.stall.one")],
        [SALES],
    )
    _, stored = read_columns(document, rendered, Stored({}))
    assert made_of(stored, "marts/sales/two") == {"Sale": {"=marts/sales/one.sale"}, "amount": {"=marts/sales/one.amount"}}


def test_a_source_without_a_contract_passes_on_columns_that_nobody_declares():
    document, rendered = project(
        {"one": "select * from raw.till__sales", "two": "select tip, tip + 1 as more from marts.one"},
        [node("one", "source.stall.till.sales"), node("two", "model.stall.one")],
        [source("sales", ["sale"])],
    )
    _, stored = read_columns(document, rendered, Stored({}))
    assert made_of(stored, "marts/sales/two") == {"tip": {"=marts/sales/one.tip"}, "more": {"~marts/sales/one.tip"}}
    walked = walk(Graph(stored.tables), ("marts/sales/two", "more"), "up")
    assert [edge.source for _, edge in walked.edges] == [("marts/sales/one", "tip"), ("raw/till/sales", "tip")]


def test_what_an_incremental_model_takes_from_itself_is_what_it_was_made_of():
    queries = [
        "select sale, amount, 0 as before from raw.till__sales",
        "select s.sale, s.amount, t.amount as before from raw.till__sales s left join marts.one t on t.sale = s.sale",
    ]
    document, rendered = project({"one": queries}, [node("one", SALES[0], materialized="incremental")], [SALES])
    _, stored = read_columns(document, rendered, Stored({}))
    assert made_of(stored, "marts/sales/one") == {
        "sale": {"=raw/till/sales.sale"}, "amount": {"=raw/till/sales.amount"}, "before": {"~raw/till/sales.amount"},
    }  # fmt: skip
    assert stored.tables["marts/sales/one"].influences == {("raw/till/sales", "sale")}


def test_a_snapshot_has_the_columns_that_dbt_adds():
    unique_id, resource = node("kept", SALES[0], kind="snapshot", strategy="check", check_cols=["amount"], unique_key="sale")
    document, _ = project(
        {}, [(unique_id, {**resource, "config": {**resource["config"], "materialized": "snapshot"}})], [SALES]
    )
    _, stored = read_columns(document, {unique_id: {"sql": ["select sale, amount from raw.till__sales"]}}, Stored({}))
    assert made_of(stored, "snapshots/marts/kept")["dbt_valid_from"] == {"~raw/till/sales.sale", "~raw/till/sales.amount"}


@pytest.mark.parametrize(
    ("queries", "config", "adapter", "reason"),
    [
        (None, {}, "duckdb", "dbt made no SQL"),
        ("select * from lake.elsewhere", {}, "duckdb", "reads lake.elsewhere, which is no model"),
        ("select nope from raw.till__sales", {}, "duckdb", "there is no column nope"),
        ("select sale from raw.till__sales", {"materialized": "strange"}, "duckdb", "materialization 'strange'"),
        ("select sale from raw.till__sales", {}, "snowflake", "neither DuckDB's nor BigQuery's"),
    ],
)
def test_what_cannot_be_read_is_unknown_with_the_reason_and_the_models_below_are_read(queries, config, adapter, reason):
    document, rendered = project(
        {"one": queries, "two": "select k from marts.one"},
        [node("one", SALES[0], columns=["k"], **config), node("two", "model.stall.one")],
        [SALES],
        adapter,
    )
    _, stored = read_columns(document, rendered, Stored({}))
    assert reason in stored.tables["marts/sales/one"].unknown
    if adapter == "duckdb":
        assert made_of(stored, "marts/sales/two") == {"k": {"=marts/sales/one.k"}}


def test_a_model_that_asks_the_database_is_unknown():
    document, _ = project({}, [node("one", SALES[0])], [SALES])
    _, stored = read_columns(document, {"model.stall.one": {"unknown": "its SQL depends on the database"}}, Stored({}))
    assert stored.tables["marts/sales/one"].unknown == "its SQL depends on the database"


def test_a_python_model_says_itself_what_its_columns_are_made_of():
    said = {"score": ["raw/till/sales.amount"]}
    document, _ = project({}, [node("one", SALES[0], meta={"column_lineage": said})], [SALES])
    _, stored = read_columns(document, {"model.stall.one": {"unknown": "it is a Python model"}}, Stored({}))
    assert made_of(stored, "marts/sales/one") == {"score": {"~raw/till/sales.amount"}}
    assert stored.tables["marts/sales/one"].unknown is None


def test_the_same_on_bigquery():
    document, rendered = project(
        {"one": "select * except (_file), struct(amount as a) as s from `warehouse.raw.till__sales`"},
        [node("one", SALES[0])], [SALES], "bigquery",
    )  # fmt: skip
    _, stored = read_columns(document, rendered, Stored({}))
    assert made_of(stored, "marts/sales/one") == {
        "Sale": {"=raw/till/sales.sale"}, "amount": {"=raw/till/sales.amount"}, "s": {"~raw/till/sales.amount"},
    }  # fmt: skip


def chain(columns="sale, amount"):
    queries = {"m0": f"select {columns} from raw.till__sales"}
    queries |= {f"m{i}": f"select * from marts.m{i - 1}" for i in range(1, 6)}
    nodes = [node("m0", SALES[0])] + [node(f"m{i}", f"model.stall.m{i - 1}") for i in range(1, 6)]
    return project(queries, nodes, [SALES])


def test_only_what_changed_is_read_again(tmp_path):
    parsed, stored = read_columns(*chain(), Stored({}))
    assert parsed == 6
    stored.write(tmp_path / "columns.json")
    kept = Stored.read(tmp_path / "columns.json")
    assert kept == stored
    assert read_columns(*chain(), kept) == (0, stored)
    document, rendered = chain()
    rendered["model.stall.m5"] = {"sql": ["select sale from marts.m4"]}
    assert read_columns(document, rendered, kept)[0] == 1


def test_a_column_that_a_star_passes_on_is_found_in_all_models_below(tmp_path):
    _, stored = read_columns(*chain(), Stored({}))
    parsed, again = read_columns(*chain("sale, amount, amount + 1 as more"), stored)
    assert parsed == 6
    assert made_of(again, "marts/sales/m5")["more"] == {"=marts/sales/m4.more"}


def test_what_another_release_wrote_is_read_anew(tmp_path):
    (tmp_path / "columns.json").write_text(json.dumps({"columns": READING}))
    assert Stored.read(tmp_path / "columns.json") == Stored({})


def test_a_column_is_followed_up_and_down_and_shown_in_each_form():
    _, stored = read_columns(*chain(), Stored({}))
    graph = Graph(stored.tables, {"profile/sales/m5": ["marts/sales/m5"], "marts/sales/m5": ["marts/sales/m4"]})
    up = walk(graph, graph.find("m5.AMOUNT"), "up")
    assert [edge.source[0] for _, edge in up.edges] == [*(f"marts/sales/m{i}" for i in (4, 3, 2, 1, 0)), "raw/till/sales"]
    down = walk(graph, ("raw/till/sales", "sale"), "down")
    assert graph.name(down.edges[-1][1].target) == "profile/sales/m5"
    assert len(walk(graph, ("raw/till/sales", "sale"), "down", depth=2).edges) == 2
    assert "-> ? profile/sales/m5" in as_text(down, graph)
    assert as_value(up, graph)["edges"][0]["from"] == {"asset": "marts/sales/m4", "column": "amount"}
    assert 'n1["marts/sales/m4.amount"]' in as_mermaid(up, graph)
    assert "raw/till/sales.Sale" in as_text(walk(graph, graph.find("m5.sale"), "up"), graph)


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ("marts/sales/m9.sale", "there is no asset `marts/sales/m9`; did you mean `marts/sales/m5`"),
        ("m5.amont", "has no column `amont`; did you mean `amount`"),
        ("m5", "say which column|there is no asset"),
    ],
)
def test_a_name_that_is_not_there_is_answered_with_what_comes_near(asked, told):
    _, stored = read_columns(*chain(), Stored({}))
    with pytest.raises(NoSuchColumn, match=told):
        Graph(stored.tables).find(asked)


def test_a_column_of_a_model_that_is_unknown_says_so():
    document, rendered = project({"one": "select * from elsewhere"}, [node("one", SALES[0], columns=["k"])], [SALES])
    _, stored = read_columns(document, rendered, Stored({}))
    graph = Graph(stored.tables)
    assert "Unknown of marts/sales/one: it reads elsewhere" in as_text(walk(graph, graph.find("one.k"), "up"), graph)


def test_a_long_chain_of_models_that_did_not_change_takes_no_time():
    queries = {f"m{i}": f"select sale, amount from {'raw.till__sales' if i == 0 else f'marts.m{i - 1}'}" for i in range(300)}
    nodes = [node(f"m{i}", f"model.stall.m{i - 1}" if i else SALES[0]) for i in reversed(range(300))]
    document, rendered = project(queries, nodes, [SALES])
    _, stored = read_columns(document, rendered, Stored({}))
    started = time.process_time()
    assert read_columns(document, rendered, stored) == (0, stored)
    assert time.process_time() - started < 1
