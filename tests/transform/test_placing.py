"""Which views a build on BigQuery takes along, and where it writes and reads."""

from types import SimpleNamespace

from caudal.google_cloud import GoogleCloud
from caudal.transform import dbt_bigquery
from caudal.transform.dbt_child import read_serialized
from caudal.transform.incremental import Days
from caudal.transform.outcome import BuildResult, NodeResult
from caudal.transform.placing import Placement, views_read, write_down
from caudal.transform.project import SERIALIZED

FACT, STAGING = "model.stall.fct_sales", "model.stall.stg_pos__sales"


def test_the_views_that_a_table_reads_are_made_beside_it_unless_they_are_built_anyhow(manifest):
    assert STAGING in views_read(manifest, {FACT})
    assert STAGING not in views_read(manifest, {FACT, STAGING})
    assert views_read(manifest, set()) == frozenset()


def test_each_source_is_known_by_its_logical_name(manifest):
    assert manifest.sources
    assert {relation.split(".")[0] for relation in manifest.sources.values()} == {"raw"}


def test_nodes_and_sources_become_the_tables_of_the_build_and_others_stay(manifest):
    known = read_serialized(str(manifest.path.with_name(SERIALIZED)))
    source, relation = next(iter(manifest.sources.items()))
    tables = {manifest.nodes[FACT].relation: ("c_candidate_1", "marts__fct_sales"), relation: ("c_raw", "pos__sales")}
    dbt_bigquery.place(known, {"project": "acme", "tables": tables, "days": {}, "tested": {}})
    assert known.nodes[FACT].relation_name == "`acme`.`c_candidate_1`.`marts__fct_sales`"
    assert (known.nodes[FACT].schema, known.nodes[FACT].alias) == ("c_candidate_1", "marts__fct_sales")
    assert known.sources[source].relation_name == "`acme`.`c_raw`.`pos__sales`"
    assert known.sources[source].identifier == "pos__sales"
    assert known.nodes[STAGING].schema == manifest.nodes[STAGING].relation.split(".")[0]


def test_a_test_of_some_days_keeps_its_own_condition_and_sees_rows_of_no_day(manifest):
    known = read_serialized(str(manifest.path.with_name(SERIALIZED)))
    test = "test.stall.amount_is_known.dc747d419b"
    known.nodes[test].config.where = "cents > 0 or cents is null"
    days = ["date '2017-01-01'", "date '2017-01-02'"]
    dbt_bigquery.place(known, {"project": "acme", "tables": {}, "days": {}, "tested": {test: ("day", days)}})
    only = "(`day` in (date '2017-01-01', date '2017-01-02') or `day` is null)"
    assert known.nodes[test].config.where == f"(cents > 0 or cents is null) and {only}"
    assert [u for u, node in known.nodes.items() if node.config.get("tested_days")] == [test]


def test_what_a_model_is_built_of_is_written_down_once_it_was_built_well(manifest):
    told = {"raw.pos__sales": "raw.pos__sales as of 5"}
    candidate = SimpleNamespace(write_down=told.update)
    days = {FACT: Days(None, "built of it"), STAGING: Days(None, "never")}
    placement = Placement(GoogleCloud("acme-shop", "EU", "lakes", "t_"), {}, days=days)
    write_down(candidate, placement, BuildResult(manifest, {FACT: NodeResult(FACT, "success")}, {STAGING: "it failed"}, 0.0))
    assert told == {"raw.pos__sales": "raw.pos__sales as of 5", manifest.nodes[FACT].relation: "built of it"}


def test_jobs_are_labelled_by_their_node_and_told_before_they_start():
    told = []
    asked = {"labels": {"run": "R 1"}, "of_node": {FACT: {"asset": "marts-sales", "owner": "Team"}}, "maximum_bytes": {}}
    jobs = dbt_bigquery.Jobs(asked, lambda event, **fields: told.append((event, fields)))
    assert jobs.labels(FACT) == {"run": "r_1", "asset": "marts-sales", "owner": "team", "node": "fct_sales"}
    jobs.starting("j1", "EU")
    assert told == [("job", {"id": "j1", "location": "EU"})]
    jobs.done(FACT, SimpleNamespace(job_id="j1", job_type="query", total_bytes_processed=5, total_bytes_billed=10))
    assert jobs.ended[FACT][0]["bytes_billed"] == 10
