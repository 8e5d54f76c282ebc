"""Tables that Python makes: audited in the candidate, and not published if an audit fails."""

import dagster as dg
import pyarrow as pa
import pytest

from caudal.warehouse import audits, published, versions
from caudal.warehouse.audited import audit_specs, publish_audited
from caudal.warehouse.audits import Audit, AuditsFailed
from caudal.warehouse.candidate import publish_tables
from caudal.warehouse.held_back import held

KEY = dg.AssetKey(["explore", "sales", "t"])
AUDITS = [
    audits.not_empty("explore.t"),
    audits.not_null("explore.t", "x", "y"),
    audits.unique("explore.t", "x"),
    audits.holds("explore.t", "y_is_positive", "y > 0"),
]


def table(*rows: tuple) -> dict[str, pa.Table]:
    return {
        "explore.t": pa.table(
            {"x": pa.array([r[0] for r in rows], pa.int64()), "y": pa.array([r[1] for r in rows], pa.float64())}
        )
    }


def rows(env):
    return published.read_arrow(env, "SELECT x, y FROM explore.t ORDER BY x").to_pylist()


@pytest.mark.parametrize(
    ("bad", "failed"),
    [
        ([], {"not_empty": 1}),
        ([(1, None), (None, 1.0), (2, float("nan"))], {"not_null_x_y": 3}),
        ([(1, 1.0), (1, 2.0), (2, 1.0), (2, 1.0)], {"unique_x": 2}),
        ([(1, -1.0), (1, 5.0)], {"unique_x": 1, "y_is_positive": 1}),
    ],
)
def test_a_table_whose_audit_fails_is_not_published_and_keeps_its_last_good_version(env, bad, failed):
    good = publish_tables(env, table((1, 1.0)), AUDITS)
    with pytest.raises(AuditsFailed, match=r"Not published, and as before: explore\.t") as refused:
        publish_tables(env, table(*bad), AUDITS)
    assert {o.audit.name: o.failures for o in refused.value.outcomes if not o.passed} == failed
    assert rows(env) == [{"x": 1, "y": 1.0}]
    assert versions.current(env) == good
    assert held(env)["explore.t"].readers_see == good
    publish_tables(env, table((2, 2.0)), AUDITS)
    assert rows(env) == [{"x": 2, "y": 2.0}]
    assert held(env) == {}


def test_an_audit_that_cannot_be_run_is_no_audit_that_passed(env):
    with pytest.raises(AuditsFailed, match="compares: it could not be run: Catalog Error"):
        publish_tables(env, table((1, 1.0)), [Audit("compares", "explore.t", "SELECT * FROM explore.nowhere")])
    assert versions.current(env) is None
    assert "It was never published: readers see nothing." in held(env)["explore.t"].sentence()


def test_an_asset_shows_its_audits_as_checks_and_says_why_it_is_held_back_until_it_is_published(env):
    given = []

    @dg.multi_asset(specs=[dg.AssetSpec(KEY)], check_specs=audit_specs(KEY, AUDITS))
    def step(context: dg.AssetExecutionContext):
        metadata = yield from publish_audited(context, env, KEY, given[-1], AUDITS)
        yield dg.MaterializeResult(asset_key=KEY, metadata=metadata)

    instance = dg.DagsterInstance.ephemeral()

    def run(rows):
        given.append(rows)
        return dg.materialize([step], instance=instance, raise_on_error=False)

    assert run(table((1, 1.0))).success
    bad = [run(table((1, -1.0), (2, -2.0))) for _ in range(2)][-1]
    checks = {e.check_name: e for e in bad.get_asset_check_evaluations()}
    assert {name for name, e in checks.items() if not e.passed} == {"y_is_positive"}
    assert [r.data for r in checks["y_is_positive"].metadata["failing rows"].records] == [
        {"x": "1", "y": "-1.0"},
        {"x": "2", "y": "-2.0"},
    ]
    assert (bad.success, bad.get_asset_materialization_events(), rows(env)) == (False, [], [{"x": 1, "y": 1.0}])
    (event,) = [e.asset_observation_data.asset_observation for e in bad.all_events if e.event_type_value == "ASSET_OBSERVATION"]
    assert "2 times: its check y_is_positive failed: 2 failing rows. Readers see version 20" in event.description
    assert event.metadata["readers see version"].value == versions.current(env)
    done = run(table((3, 3.0)))
    (made,) = [e.materialization for e in done.get_asset_materialization_events()]
    assert made.metadata["was held back"].value.startswith("Not published since 20")
    assert made.metadata["published version"].value == versions.current(env)
    assert versions.kept(env)[-1].record.cause.run_id == done.run_id
