"""Candidates, publishing, versions and rollback in BigQuery."""

import dataclasses

import pyarrow as pa
import pytest

from caudal.warehouse import versions
from caudal.warehouse.audits import AuditsFailed, not_empty, not_null, unique
from caudal.warehouse.bigquery import names, schema
from caudal.warehouse.bigquery.service import BigQuery
from caudal.warehouse.bigquery.tables import Tables
from caudal.warehouse.candidate import open_candidate, publish_tables, published_version
from caudal.warehouse.difference import diff
from caudal.warehouse.held_back import held
from caudal.warehouse.rollback import RefusedRollback, rollback
from caudal.warehouse.telling import listing
from tests.conftest import SALES_CONTRACT
from tests.services.in_bigquery import datasets, snapshots


def test_tables_are_published_together_and_a_version_says_what_changed(env, seen):
    first = publish_tables(env, {"marts.a": pa.table({"n": [1, 2]}), "marts.b": pa.table({"t": ["x"]})}, [not_empty("marts.a")])
    second = publish_tables(env, {"marts.a": pa.table({"n": [3], "m": [1.5]})}, cause=versions.Cause("me", "run", "why"))

    assert (seen("marts.a"), seen("marts.b")) == ([(3, 1.5)], [("x",)])
    assert published_version(env) == second
    old, new = versions.kept(env)
    assert (old.name, new.name, new.is_current) == (first, second, True)
    assert new.record.parent == first
    assert new.record.cause == versions.Cause("me", "run", "why")
    assert new.record.changed == {"marts.a": "2 -> 1 rows; column m added"}
    assert new.record.relations["marts.b"].since == first
    assert versions.last_good(env, "marts.b")[0] == first
    assert snapshots(env) == [f"marts__a__{first}", f"marts__a__{second}", f"marts__b__{first}"]
    assert datasets(env, "candidate_") == []


def test_what_fails_its_audit_is_not_published_and_is_held_back(env, seen):
    good = publish_tables(env, {"marts.a": pa.table({"n": [1, 2]})}, [unique("marts.a", "n"), not_null("marts.a", "n")])
    with pytest.raises(AuditsFailed, match="unique_n: 1 failing rows"):
        publish_tables(env, {"marts.a": pa.table({"n": [1, 1]})}, [unique("marts.a", "n")])
    assert seen("marts.a") == [(1,), (2,)]
    assert published_version(env) == good
    assert held(env)["marts.a"].readers_see == good
    assert datasets(env, "candidate_") == []


def test_views_are_published_reading_what_readers_see(env, seen):
    with open_candidate(env) as candidate:
        candidate.write({"marts.a": pa.table({"n": [1, 2]})})
        candidate.prepare(["marts.top", "staging.low"])
        with candidate.connect() as connection:
            connection.execute("CREATE OR REPLACE VIEW staging.low AS SELECT n + 1 AS n FROM marts.a")
            connection.execute("CREATE OR REPLACE VIEW marts.top AS SELECT sum(n) AS n FROM staging.low")
            assert connection.execute("SELECT n FROM marts.top").fetchall() == [(5,)]
        assert candidate.physical("marts.top") == (env.cloud.dataset(f"candidate_{candidate.version}"), "marts__top")
        assert candidate.physical("marts.top", in_candidate=False) == (env.cloud.dataset("marts"), "top")
        candidate.publish()
    assert (seen("staging.low"), seen("marts.top")) == ([(2,), (3,)], [(5,)])
    publish_tables(env, {"marts.a": pa.table({"n": [10]})})
    assert seen("marts.top") == [(11,)]


def test_what_is_restored_is_as_published_and_views_that_stay_read_it_there(env):
    publish_tables(env, {"marts.a": pa.table({"n": [1]})})
    with open_candidate(env) as candidate:
        candidate.write({"marts.a": pa.table({"n": [2]}), "marts.new": pa.table({"n": [5]})})
        with candidate.connect() as connection:
            connection.execute("CREATE VIEW marts.v AS SELECT n FROM marts.a")
            candidate.restore(["marts.a", "marts.new"])
            assert connection.execute("SELECT n FROM marts.v").fetchall() == [(1,)]
            assert connection.execute("SELECT n FROM marts.a").fetchall() == [(1,)]
        assert candidate.holds(["marts.a", "marts.new", "marts.v"]) == {"marts.a", "marts.v"}


def test_nothing_but_the_candidate_is_written_before_it_is_published(env, seen):
    publish_tables(env, {"marts.a": pa.table({"n": [1]})})
    with open_candidate(env) as candidate, candidate.connect() as connection:
        connection.execute("CREATE OR REPLACE TABLE marts.a AS SELECT 7 AS n")
        assert connection.execute("SELECT n FROM marts.a").fetchall() == [(7,)]
        assert connection.execute("SELECT n FROM last_good.marts.a").fetchall() == [(1,)]
    assert seen("marts.a") == [(1,)]


def test_an_incremental_model_starts_as_what_is_published_with_its_partitions(env, bigquery):
    publish_tables(env, {"marts.seed": pa.table({"n": [1]})})
    bigquery.client().query(
        f"CREATE OR REPLACE TABLE `{env.cloud.table('marts.a')}` PARTITION BY d AS SELECT DATE '2024-01-01' AS d, 1 AS n"
    ).result()
    with open_candidate(env) as candidate:
        candidate.prepare(["marts.a", "marts.b"], incremental=["marts.a", "marts.b"])
        dataset, table = candidate.physical("marts.a")
        made = bigquery.client().get_table(f"{bigquery.project}.{dataset}.{table}")
        assert (made.num_rows, made.time_partitioning.field) == (1, "d")
        assert candidate.holds(["marts.b"]) == set()


def test_one_table_or_everything_goes_back_and_nothing_is_lost(env, seen):
    first = publish_tables(env, {"marts.a": pa.table({"n": [1]}), "marts.b": pa.table({"n": [1]})})
    with open_candidate(env) as candidate:
        candidate.write({"marts.a": pa.table({"n": [2]}), "marts.later": pa.table({"n": [2]})})
        with candidate.connect() as connection:
            connection.execute("CREATE VIEW marts.v AS SELECT n FROM marts.a")
        second = candidate.publish(["marts.a"])
    publish_tables(env, {"marts.b": pa.table({"n": [3]})})

    looked = []

    def audit(candidate):
        with candidate.connect() as connection:
            looked.append(connection.execute("SELECT n FROM marts.v").fetchall())
        return []

    done = rollback(env, "marts.a", first, "me", audit)
    assert looked == [[(1,)]]
    assert done.changed == {"marts.a": "1 -> 1 rows"}
    assert (seen("marts.a"), seen("marts.b"), seen("marts.v")) == ([(1,)], [(3,)], [(1,)])

    rollback(env, None, second, "me")
    assert (seen("marts.a"), seen("marts.b"), seen("marts.v")) == ([(2,)], [(1,)], [(2,)])
    assert versions.kept(env)[-1].record.relations["marts.a"].since == second

    done = rollback(env, None, first, "me")
    assert done.changed["marts.later"] == "removed"
    assert seen("marts.a") == [(1,)]
    assert BigQuery(env.cloud).kind_of(env.cloud.table("marts.v")) is None
    with pytest.raises(RefusedRollback, match=r"has no marts\.later"):
        rollback(env, "marts.later", first, "me")
    assert len(versions.kept(env)) == 6


def test_two_versions_of_a_table_are_compared(env):
    first = publish_tables(env, {"marts.a": pa.table({"k": ["x", "y"], "n": [1, 2]})})
    second = publish_tables(env, {"marts.a": pa.table({"k": ["x", "z"], "n": [5, 2], "m": [1.5, None]})})
    found = diff(env, "marts.a", first, second, ["k"])
    assert (found.rows_added, found.rows_removed, found.rows_changed) == (1, 1, 1)
    assert found.columns_added == {"m": "DOUBLE"}
    assert found.cells_changed == {"n": 1}
    assert diff(env, "marts.a", second, second).is_none
    with pytest.raises(LookupError, match="is not there"):
        diff(env, "marts.b", first, second)
    assert "marts.a: 2 -> 2 rows; column m added" in listing(env, "marts.a")


def test_a_rollback_that_breaks_a_view_is_refused(env, seen):
    first = publish_tables(env, {"marts.a": pa.table({"n": [1]})})
    with open_candidate(env) as candidate:
        candidate.write({"marts.a": pa.table({"n": [2], "m": [2]})})
        with candidate.connect() as connection:
            connection.execute("CREATE VIEW marts.v AS SELECT m FROM marts.a")
        candidate.publish(["marts.a"])
    with pytest.raises(RefusedRollback, match=r"marts\.v"):
        rollback(env, "marts.a", first, "me")
    assert seen("marts.v") == [(2,)]


def test_old_versions_go_with_the_snapshots_that_no_other_needs(env):
    env = dataclasses.replace(env, kept_versions=3)
    first = publish_tables(env, {"marts.a": pa.table({"n": [0]}), "marts.b": pa.table({"n": [0]})})
    later = [publish_tables(env, {"marts.a": pa.table({"n": [n]})}) for n in range(3)]
    assert [each.name for each in versions.kept(env)] == later
    assert snapshots(env) == [*(f"marts__a__{version}" for version in later), f"marts__b__{first}"]
    client = BigQuery(env.cloud).client
    kept = [names.snapshot(env.cloud, "marts.b", first), *(names.snapshot(env.cloud, "marts.a", v) for v in later)]
    assert [bool(client.get_table(each).expires) for each in kept] == [False, True, False, False]


def test_the_datasets_of_views_may_read_what_the_views_read(env, bigquery):
    publish_tables(env, {"raw.a": pa.table({"n": [1]})})
    for _ in range(2):
        with open_candidate(env) as candidate:
            with candidate.connect() as connection:
                connection.execute("CREATE OR REPLACE VIEW staging.a AS SELECT n FROM raw.a")
                connection.execute("CREATE OR REPLACE VIEW marts.a AS SELECT n FROM staging.a")
            candidate.publish(["staging.a", "marts.a"])
    client = bigquery.client()
    for read, reader in (("raw", "staging"), ("staging", "marts")):
        entries = [e.to_api_repr() for e in client.get_dataset(env.cloud.dataset(read)).access_entries]
        expected = {
            "dataset": {"projectId": bigquery.project, "datasetId": env.cloud.dataset(reader)},
            "targetTypes": ["VIEWS"],
        }
        assert [e["dataset"] for e in entries if "dataset" in e] == [expected]


def test_a_candidate_pins_raw_as_it_was_opened_and_readers_see_it_once_it_is_published(env, declare, seen):
    dataset = declare(SALES_CONTRACT.replace("- {name: item,", "- {name: item, primaryKey: true,"))
    service = BigQuery(env.cloud)

    def load(item):
        lineage = f"'{item}.csv' AS _file, '1' AS _version, 1 AS _row, CURRENT_TIMESTAMP() AS _loaded_at"
        row = f"SELECT '{item}' AS item, 2 AS units, NUMERIC '1.5' AS amount, {lineage}"
        service.query(
            f"INSERT INTO `{env.cloud.table('loading.stall__sales')}` (item, units, amount, _file, _version, _row, _loaded_at) {row}"
        )

    def items(relation="raw.stall__sales"):
        return [row[0] for row in seen(relation)]

    with open_candidate(env, [dataset]) as candidate:
        assert candidate.holds(["raw.stall__sales", "raw.stall__sales__latest"]) == {
            "raw.stall__sales",
            "raw.stall__sales__latest",
        }
        candidate.publish()
    assert items() == []
    Tables(service).ready(env.cloud.table("loading.stall__sales"), schema.fields_of(dataset.contract), dataset.contract.layout)
    load("fig")
    with open_candidate(env, [dataset]) as candidate:
        load("pear")
        with candidate.connect() as connection:
            assert connection.execute("SELECT item FROM raw.stall__sales__latest").fetchall() == [("fig",)]
        assert items() == []
        second = candidate.publish()
    assert (items(), items("raw.stall__sales__latest")) == (["fig"], ["fig"])
    with open_candidate(env, [dataset]) as candidate:
        assert candidate.physical("raw.stall__sales")[0] == env.cloud.dataset(f"candidate_{candidate.version}")
        third = candidate.publish()
    assert items() == ["fig", "pear"]
    with open_candidate(env, [dataset]) as candidate:  # Nothing was loaded meanwhile: it is read where readers read it.
        assert candidate.physical("raw.stall__sales") == (env.cloud.dataset("raw"), "stall__sales")
    assert versions.named(env, third).relations["raw.stall__sales"].since == third
    assert versions.remove_before(env, third)[1:] == [second]
    assert [each.name for each in versions.kept(env)] == [third]
    assert snapshots(env) == [f"raw__stall__sales__{third}"]
