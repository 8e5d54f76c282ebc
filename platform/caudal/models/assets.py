"""The assets of a forecast: thin functions around `caudal.models.lifecycle`, and what they show on their
pages.
"""

import math
from collections.abc import Callable, Collection, Generator, Iterator, Sequence
from contextlib import contextmanager

import dagster as dg

from caudal.environment import Environment
from caudal.models.backtest import Errors
from caudal.models.forecast import UnusableModel
from caudal.models.history import History, HistoryTable, UnreadableHistory, read_history
from caudal.models.lifecycle import (
    Evaluated,
    ForecastDeclaration,
    NoChampion,
    NotEvaluated,
    evaluate,
    predict,
    promote,
)
from caudal.models.panel import HistoryTooShort, NoHistory
from caudal.precedence import precedence
from caudal.warehouse.audited import Event, audit_specs, publish_audited
from caudal.warehouse.audits import holds, not_empty, not_null, unique
from caudal.warehouse.published import NothingPublished

LINEAGE = "dagster/column_lineage"
GATE = "better_than_champion_and_baseline"


def evaluation_asset(
    env: Environment,
    spec: dg.AssetSpec,
    declared: ForecastDeclaration,
    table: HistoryTable,
    unit: str,
    hidden: Callable[[], Collection[str]] = tuple,
) -> dg.AssetsDefinition:
    """The backtest and the gate's verdict on it."""
    gate = dg.AssetCheckSpec(
        GATE,
        asset=spec.key,
        description=f"WAPE at least {declared.margin:.0%} below last week repeated, and not above the champion's.",
    )

    relation = f"evaluation.{declared.name}"
    audits = [
        not_empty(relation),
        unique(relation, "window", "date", "series", "method"),
        not_null(relation, "series", "date", "forecast"),
    ]

    @dg.multi_asset(
        name=f"evaluate_{declared.name}",
        specs=[spec],
        op_tags=precedence("models"),
        check_specs=[gate, *audit_specs(spec.key, audits)],
    )
    def evaluated(context: dg.AssetExecutionContext) -> Iterator[Event | dg.MaterializeResult]:
        with _explained():
            history = read_history(env, table)
            done = evaluate(env, declared, history.panel)
        rows = done.backtest.to_arrow()
        published = yield from publish_audited(context, env, spec.key, {relation: rows}, audits, hidden)
        yield dg.MaterializeResult(
            asset_key=spec.key,
            metadata={
                **_evaluation_metadata(declared, history, done, unit),
                LINEAGE: spec.metadata[LINEAGE],
                "dagster/row_count": rows.num_rows,
                **published,
            },
            check_results=[_gate_result(done)],
        )

    return evaluated


def model_asset(
    env: Environment, spec: dg.AssetSpec, declared: ForecastDeclaration, table: HistoryTable
) -> dg.AssetsDefinition:
    """The champion after the gate."""

    @dg.multi_asset(name=f"promote_{declared.name}", specs=[spec], op_tags=precedence("models"))
    def promoted() -> Iterator[dg.MaterializeResult]:
        with _explained():
            done = promote(env, declared, read_history(env, table).panel)
        yield dg.MaterializeResult(
            asset_key=spec.key,
            data_version=dg.DataVersion(f"{declared.name}/{done.champion.version}"),
            metadata={
                "version": done.champion.version,
                "promoted": done.promoted,
                "verdict": done.verdict.sentence,
                "MLflow run": done.champion.run_id,
                "bytes": len(done.champion.model),
            },
        )

    return promoted


def predictions_asset(
    env: Environment,
    spec: dg.AssetSpec,
    declared: ForecastDeclaration,
    table: HistoryTable,
    hidden: Callable[[], Collection[str]] = tuple,
) -> dg.AssetsDefinition:
    """The champion's forecasts, published."""
    relation = f"predictions.{declared.name}"
    audits = [
        unique(relation, "series", "date"),
        not_null(relation, "series", "date", "value"),
        holds(
            relation,
            "value_within_bounds",
            "value BETWEEN least(lower, upper) AND greatest(lower, upper)",
            "No forecast lies outside of its own bounds.",
        ),
    ]

    @dg.multi_asset(
        name=f"predict_{declared.name}",
        specs=[spec],
        op_tags=precedence("models"),
        check_specs=audit_specs(spec.key, audits),
    )
    def predicted(context: dg.AssetExecutionContext) -> Iterator[Event | dg.MaterializeResult]:
        with _explained():
            history = read_history(env, table)
            rows = predict(env, declared, history.panel)
        published = yield from publish_audited(context, env, spec.key, {relation: rows}, audits, hidden)
        days = rows["date"].to_pylist()
        yield dg.MaterializeResult(
            asset_key=spec.key,
            metadata={
                LINEAGE: spec.metadata[LINEAGE],
                "dagster/row_count": rows.num_rows,
                "model version": ", ".join(sorted(set(rows["model_version"].to_pylist()))),
                "series": len(set(rows["series"].to_pylist())),
                "days": f"{min(days)} to {max(days)}" if days else "none",
                "sum of forecasts": round(sum(rows["value"].to_pylist()), 2),
                "left out": _left_out(history),
                **published,
            },
        )

    return predicted


def _gate_result(done: Evaluated) -> dg.AssetCheckResult:
    decision, verdict = done.decision, done.evaluation.verdict
    return dg.AssetCheckResult(
        check_name=GATE,
        passed=verdict.promote,
        severity=dg.AssetCheckSeverity.ERROR,
        description=verdict.sentence,
        metadata={
            "WAPE challenger": decision.challenger,
            "WAPE baseline": decision.baseline,
            **({"WAPE champion": decision.champion} if decision.champion is not None else {}),
            "margin": decision.margin,
        },
    )


def _evaluation_metadata(
    declared: ForecastDeclaration, history: History, done: Evaluated, unit: str
) -> dict[str, dg.MetadataValue | str | float]:
    from caudal.explore.markdown import image
    from caudal.models.plot import plot_backtest

    panel = history.panel
    backtest = done.backtest
    picture = plot_backtest(panel, backtest, declared.name, unit)
    return {
        "forecast against actual": dg.MetadataValue.md(image(picture, f"Backtest of {declared.name}")),
        "verdict": done.evaluation.verdict.sentence,
        "errors": _errors_table([(name, backtest.errors(name)) for name in backtest.forecasts], "method"),
        "errors by window": _errors_table(
            [
                (
                    f"{name}, {backtest.days[window, 0]} to {backtest.days[window, -1]}",
                    backtest.errors(name, window=window),
                )
                for window in range(backtest.windows)
                for name in backtest.forecasts
            ],
            "method, window",
        ),
        "errors by series": _errors_table(
            [
                (f"{series}, {name}", errors)
                for series in backtest.series
                for name in backtest.forecasts
                if (errors := backtest.errors(name, series=series)).days
            ],
            "series, method",
        ),
        "measured coverage of the bounds": done.coverage,
        "history": f"{panel.days[0]} to {panel.last_day}, {len(panel.days)} days, {len(panel.series)} series",
        "closed days": ", ".join(str(day) for day in panel.days[panel.closed][-50:]) or "none",
        "left out": _left_out(history),
        "champion version compared with": done.champion_version or "none yet",
        "MLflow run": done.run_id,
    }


def _errors_table(rows: Sequence[tuple[str, Errors]], label: str) -> dg.TableMetadataValue:
    """Errors as a table; a measure that cannot be taken is left empty."""
    records = [
        dg.TableRecord(
            {
                label: name,
                **{
                    measure.upper() if measure != "days" else "days": _rounded(getattr(errors, measure))
                    for measure in ("days", "mae", "rmse", "wape", "mase")
                },
            }
        )
        for name, errors in rows
    ]
    columns = [dg.TableColumn(label, "string"), dg.TableColumn("days", "int")]
    columns += [dg.TableColumn(measure, "float") for measure in ("MAE", "RMSE", "WAPE", "MASE")]
    return dg.MetadataValue.table(records, dg.TableSchema(columns=columns))


def _rounded(value: float) -> float | int | None:
    if isinstance(value, int):
        return value
    return round(value, 4) if math.isfinite(value) else None


def _left_out(history: History) -> dg.MarkdownMetadataValue:
    from caudal.explore.markdown import text

    reasons = [f"- {text(name)}: {text(reason, 200)}" for name, reason in history.panel.left_out().items()]
    if history.rows_without_key:
        reasons.append(f"- {history.rows_without_key} rows without a day or series")
    return dg.MetadataValue.md("\n".join(reasons) or "nothing")


@contextmanager
def _explained() -> Generator[None]:
    """Turn what people can mend into a failure that says so, without a stack trace and without retries."""
    try:
        yield
    except (
        NothingPublished,
        UnreadableHistory,
        NoHistory,
        HistoryTooShort,
        NotEvaluated,
        NoChampion,
        UnusableModel,
    ) as cause:
        raise dg.Failure(description=str(cause), allow_retries=False) from cause
