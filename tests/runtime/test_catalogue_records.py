"""What the catalogue takes from Dagster. The records and policies that it reads are Dagster's own and not all public."""

from datetime import timedelta

import dagster as dg
import pytest

from caudal.runtime.catalogue_records import read_records
from caudal.serving.catalogue.values import Column, Table

LINEAGE = dg.TableColumnLineage({"Buyer": [dg.TableColumnDep(dg.AssetKey(["raw", "shop", "sales"]), "customer")]})
SCHEMA = dg.TableSchema(
    [
        dg.TableColumn(
            "Buyer",
            "varchar",
            "Who bought.",
            constraints=dg.TableColumnConstraints(nullable=False, unique=True),
            tags={"classification": "personal", "unit": "people"},
        )
    ]
)


@dg.asset(key=["raw", "shop", "sales"], metadata={"dagster/relation_identifier": "raw.shop__sales"})
def raw() -> None: ...


@dg.asset(
    key=["marts", "sales", "buyers"],
    deps=[raw],
    metadata={"dagster/table_name": "marts.buyers", "dagster/column_schema": SCHEMA},
    tags={"domain": "sales", "important": ""},
    owners=["team:sales"],
    description="Who buys.",
    freshness_policy=dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=24)),
    check_specs=[
        dg.AssetCheckSpec("broken", asset=["marts", "sales", "buyers"]),
        dg.AssetCheckSpec("doubtful", asset=["marts", "sales", "buyers"]),
        dg.AssetCheckSpec("fine", asset=["marts", "sales", "buyers"], description="All is well."),
    ],
)
def buyers():
    yield dg.MaterializeResult(metadata={"dagster/column_lineage": LINEAGE, "dagster/row_count": 7})
    yield dg.AssetCheckResult(passed=False, check_name="broken")
    yield dg.AssetCheckResult(passed=False, check_name="doubtful", severity=dg.AssetCheckSeverity.WARN)
    yield dg.AssetCheckResult(passed=True, check_name="fine")


@dg.asset(key=["profile", "sales", "buyers"], deps=[buyers], metadata={"dagster/relation_identifier": "marts.buyers"})
def profile():
    column = {"name": "Buyer", "null_share": 0.25, "distinct": 3, "minimum": "Ann", "top": [{"value": "Ann", "rows": 2}]}
    return dg.MaterializeResult(metadata={"figures": dg.MetadataValue.json({"rows": 7, "columns": [column]})})


@pytest.fixture
def records(env, tmp_path):
    defs = dg.Definitions([raw, buyers, profile])
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        assert defs.resolve_implicit_global_asset_job_def().execute_in_process(instance=instance).success
        yield read_records(env, defs, instance)


def filled(records, *, personal: bool = False) -> Table:
    return records.fill(Table("marts.buyers", "view", columns=(Column("Buyer", "VARCHAR", personal=personal),)))


def test_a_check_passed_warned_or_failed(records):
    table = filled(records)
    assert [(c.name, c.status, c.description) for c in table.checks] == [
        ("broken", "failed", ""),
        ("doubtful", "warned", ""),
        ("fine", "passed", "All is well."),
    ]
    assert all(c.at for c in table.checks)


def test_a_table_is_owned_described_and_counted_as_its_asset_says(records):
    table = filled(records)
    assert (table.asset, table.domain, table.owners, table.tags) == (
        "marts/sales/buyers",
        "sales",
        ("team:sales",),
        ("important",),
    )
    assert (table.description, table.rows) == ("Who buys.", 7)
    assert (table.reads, table.read_by) == (("raw/shop/sales",), ())


def test_the_moment_by_which_a_table_must_be_made_again_follows_from_its_policy(records):
    fresh = filled(records).freshness
    assert (fresh.rule, fresh.late) == ("never older than 24 h", False)
    assert fresh.made_at < fresh.expected_by


def test_columns_are_told_as_the_asset_shows_them(records):
    told = records.schema_of("marts.buyers")["buyer"]
    assert (told.description, told.unit, told.classification) == ("Who bought.", "people", "personal")
    assert told.constraints == ("never empty", "unique")
    (with_origin,) = records.with_lineage("marts.buyers", (Column("buyer", "VARCHAR"),))
    assert with_origin.made_of == ("raw.shop__sales.customer",)


def test_a_profile_tells_of_personal_data_only_how_much_there_is(records):
    for personal, top, minimum in ((False, "Ann (2)", "Ann"), (True, "", "")):
        profile = filled(records, personal=personal).profile
        assert profile is not None
        (figures,) = profile.figures
        assert (figures.nulls, figures.distinct, figures.minimum, figures.top) == ("25.0%", "3", minimum, top)


def test_what_is_no_asset_is_left_as_it_is(records):
    table = Table("explore.scratch", "table")
    assert records.fill(table) is table
    assert records.schema_of("explore.scratch") == {}
