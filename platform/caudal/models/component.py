"""A forecast declared in YAML, as assets: its evaluation, its champion, its predictions."""

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Annotated

import dagster as dg
from pydantic import AfterValidator

from caudal.contracts.masking import Names
from caudal.environment import Environment
from caudal.models.assets import evaluation_asset, model_asset, predictions_asset
from caudal.models.features import FEATURES, Calendar
from caudal.models.forecast import PARAMETERS, Recipe
from caudal.models.history import HistoryTable
from caudal.models.lifecycle import ForecastDeclaration
from caudal.transform.component import hidden_anywhere


def _within(lowest: float, below: float) -> AfterValidator:
    """A number in that range. Text is a template that YAML has yet to resolve; its value is checked then."""

    def check(value: float | str) -> float | str:
        if not isinstance(value, str) and not lowest <= value < below:
            raise ValueError(f"{value} is out of range; expected at least {lowest} and less than {below}")
        return value

    return AfterValidator(check)


def _day(text: str) -> str:
    Calendar(holidays=(text,))
    return text


def _feature(name: str) -> str:
    Recipe(features=(name,))
    return name


Day = Annotated[str, AfterValidator(_day)]
Feature = Annotated[str, AfterValidator(_feature)]

PREDICTIONS_SCHEMA = dg.TableSchema(
    columns=[
        dg.TableColumn("series", "string", "What is forecast."),
        dg.TableColumn("date", "date", "The day that is forecast."),
        dg.TableColumn("value", "double", "The forecast, in the unit of the table that it was learned from."),
        dg.TableColumn("lower", "double", "Lower bound, from the residuals of the backtest."),
        dg.TableColumn("upper", "double", "Upper bound, from the residuals of the backtest."),
        dg.TableColumn("model_version", "string", "The champion that made it, `<name>/<version>`."),
        dg.TableColumn("made_at", "timestamp", "When it was made, UTC."),
    ]
)

EVALUATION_SCHEMA = dg.TableSchema(
    columns=[
        dg.TableColumn("window", "integer", "The window of the backtest, from 1."),
        dg.TableColumn("origin", "date", "The last day that the forecast knew."),
        dg.TableColumn("date", "date", "The day that was forecast."),
        dg.TableColumn("step_days", "integer", "Days after the origin."),
        dg.TableColumn("series", "string", "What was forecast."),
        dg.TableColumn("method", "string", "challenger, baseline, or champion where its recipe differs."),
        dg.TableColumn("actual", "double", "What came."),
        dg.TableColumn("forecast", "double", "What the method would have said."),
    ]
)


class Forecast(dg.Component, dg.Model, dg.Resolvable):
    """A daily forecast of every series in a published table.

    Three assets follow the table: `evaluation/<domain>/<name>` backtests the declared recipe against last
    week repeated and against the champion's recipe; `model/<domain>/<name>` trains it on all data and makes
    it the champion, if the gate lets it; `predictions/<domain>/<name>` forecasts the days ahead with whoever
    is champion then.

    The gate is the check `better_than_champion_and_baseline` on the evaluation. It fails in plain sight, but
    does not *block* in Dagster's sense: a blocked model step would take the predictions below it along,
    whereas a worse challenger must leave fresh predictions by the old champion; and Dagster blocks only
    within one run, so that starting the model asset by hand would pass it. The verdict is recorded with the
    evaluation instead, and the model asset obeys it in every run: it promotes or keeps, and fails only where
    there is nobody to keep.

    Attributes:
        table: the published table, `schema.table`; `asset` is its asset key.
        time: its column of the day; `series` the one that names the series; `value` the one that is forecast.
        unit: of the values, for the plot.
        windows: of the backtest, each `horizon_days` long, the last ending with the history.
        margin: how far the WAPE must lie below that of last week repeated, as a share of it.
        coverage: the share of days that should fall between `lower` and `upper`.
        incomplete_days: days at the end of the table that are still filling and are left out.
        holidays: days around which customers behave unusually, `"YYYY-MM-DD"`, or `"MM-DD"` for every year.
        closed_days: days without business, written the same way; their forecast is 0.
        features: out of `caudal.models.features.FEATURES`.
        parameters: LightGBM's, over those of `caudal.models.forecast.PARAMETERS`.
        rounds: trees.
    """

    name: str
    domain: str
    table: str
    asset: str
    time: str
    series: str
    value: str
    unit: str = ""
    horizon_days: Annotated[int, _within(1, 367)] = 14
    windows: Annotated[int, _within(1, 1000)] = 6
    margin: Annotated[float, _within(0, 1)] = 0.05
    coverage: Annotated[float, _within(0.01, 1)] = 0.8
    incomplete_days: Annotated[int, _within(0, 367)] = 0
    holidays: Sequence[Day] = ()
    closed_days: Sequence[Day] = ()
    features: Sequence[Feature] = FEATURES
    parameters: Mapping[str, float | int | str] = {}
    rounds: Annotated[int, _within(1, 100_000)] = 150
    owners: Sequence[str] = ()
    description: str = ""

    def declared(self) -> ForecastDeclaration:
        """The declaration as the pure core knows it."""
        return ForecastDeclaration(
            name=self.name,
            horizon_days=self.horizon_days,
            windows=self.windows,
            margin=self.margin,
            coverage=self.coverage,
            calendar=Calendar(tuple(self.holidays), tuple(self.closed_days)),
            recipe=Recipe(tuple(self.features), {**PARAMETERS, **self.parameters}, self.rounds),
        )

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        env, tree = Environment.of_module(context.defs_module_name), context.component_tree
        return self.definitions(env, lambda: self._hidden(hidden_anywhere(tree, env)))

    def _hidden(self, classified: Names) -> Names:
        """Of the columns that are published: what is made of a column is as personal as that."""
        made = {self.series: ("series",), self.value: ("value", "lower", "upper", "forecast", "actual")}
        return classified | [name for column, names in made.items() if column in classified for name in names]

    def definitions(self, env: Environment, hidden: Callable[[], Collection[str]] = tuple) -> dg.Definitions:
        """The three assets in `env`; `hidden` gives the columns whose values are masked."""
        declared = self.declared()
        table = HistoryTable(self.table, self.time, self.series, self.value, self.incomplete_days)
        source = dg.AssetKey.from_user_string(self.asset)
        evaluation = self._spec(
            "evaluation",
            [source],
            {"lightgbm", "duckdb"},
            f"Backtest over {self.windows} windows of {self.horizon_days} days, against last week repeated and the champion.",
            {
                "dagster/relation_identifier": f"evaluation.{self.name}",
                "dagster/column_schema": EVALUATION_SCHEMA,
                "dagster/column_lineage": _lineage(
                    source,
                    {
                        **dict.fromkeys(("window", "origin", "date", "step_days"), (self.time,)),
                        "series": (self.series,),
                        "actual": (self.value,),
                        "forecast": (self.time, self.series, self.value),
                    },
                ),
            },
            code_version=hashlib.sha256(repr((declared, table)).encode()).hexdigest()[:12],
        )
        model = self._spec(
            "model",
            [source, evaluation.key],
            {"lightgbm", "mlflow"},
            "The champion: the latest evaluated recipe trained on all data, or the one before it if the gate refused.",
            {"alias": "champion", "registered model": self.name},
        )
        predictions = self._spec(
            "predictions",
            [source, model.key],
            {"lightgbm", "duckdb"},
            f"The next {self.horizon_days} days by the champion, with bounds that {self.coverage:.0%} of days fall between.",
            {
                "dagster/relation_identifier": f"predictions.{self.name}",
                "dagster/column_schema": PREDICTIONS_SCHEMA,
                "dagster/column_lineage": _lineage(
                    source,
                    {
                        "date": (self.time,),
                        "series": (self.series,),
                        **dict.fromkeys(("value", "lower", "upper"), (self.time, self.series, self.value)),
                    },
                ),
            },
        )
        return dg.Definitions(
            assets=[
                evaluation_asset(env, evaluation, declared, table, self.unit, hidden),
                model_asset(env, model, declared, table),
                predictions_asset(env, predictions, declared, table, hidden),
            ]
        )

    def _spec(
        self,
        stage: str,
        deps: Sequence[dg.AssetKey],
        kinds: set[str],
        description: str,
        metadata: Mapping[str, object],
        code_version: str | None = None,
    ) -> dg.AssetSpec:
        groups = {"evaluation": "evaluation", "model": "models", "predictions": "production"}
        return dg.AssetSpec(
            [stage, self.domain, self.name],
            deps=deps,
            description=f"{self.description}\n\n{description}".strip(),
            group_name=groups[stage],
            kinds=kinds,
            owners=list(self.owners),
            tags={"domain": self.domain},
            metadata=metadata,
            code_version=code_version,
        )


def _lineage(source: dg.AssetKey, columns: Mapping[str, Sequence[str]]) -> dg.TableColumnLineage:
    """Each column, and the columns of the history that it is computed from."""
    return dg.TableColumnLineage({name: [dg.TableColumnDep(source, c) for c in made_of] for name, made_of in columns.items()})
