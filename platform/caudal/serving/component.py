"""The online store declared in YAML, as the asset that publishes it."""

from collections.abc import Iterator, Sequence

import dagster as dg

from caudal.environment import Environment
from caudal.precedence import precedence
from caudal.serving.online import FORECASTS, ForecastTable, KeyedTable, UnservableTable, publish_online
from caudal.warehouse.published import NothingPublished


class OnlineTable(dg.Model, dg.Resolvable):
    """A published table whose rows are looked up by one column: `GET /v1/tables/<name>/<key>`."""

    relation: str
    key: str
    asset: str
    name: str = ""

    @property
    def keyed(self) -> KeyedTable:
        return KeyedTable(self.name or self.relation.rpartition(".")[2], self.relation, self.key)


class OnlineForecasts(dg.Model, dg.Resolvable):
    """A published table of forecasts: `GET /v1/forecasts/<series>`. The columns are those of `predictions.*`
    if not declared.
    """

    relation: str
    asset: str
    series: str = "series"
    date: str = "date"
    value: str = "value"
    lower: str = "lower"
    upper: str = "upper"
    model_version: str = "model_version"
    made_at: str = "made_at"

    @property
    def table(self) -> ForecastTable:
        return ForecastTable(
            self.relation,
            self.series,
            self.date,
            self.value,
            self.lower,
            self.upper,
            self.model_version,
            self.made_at,
        )


class OnlineStore(dg.Component, dg.Model, dg.Resolvable):
    """What applications read: the asset `online/<domain>/<name>`, downstream of all that it holds.

    A company has one online store; its API answers from the version that was published last.
    """

    name: str
    domain: str
    tables: Sequence[OnlineTable] = ()
    forecasts: OnlineForecasts | None = None
    owners: Sequence[str] = ()
    description: str = ""

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        return self.definitions(Environment.of_module(context.defs_module_name))

    def definitions(self, env: Environment) -> dg.Definitions:
        """The asset in `env`.

        Raises:
            ValueError: two tables have one name, or a table takes the name of the forecasts.
        """
        tables = tuple(table.keyed for table in self.tables)
        names = [table.name for table in tables]
        for name in names:
            if names.count(name) > 1 or name == FORECASTS:
                raise ValueError(f"OnlineStore {self.name}: the name {name!r} is taken; give each table a `name` of its own.")
        forecasts = self.forecasts.table if self.forecasts else None
        upstream = [
            *([self.forecasts.asset] if self.forecasts else []),
            *(table.asset for table in self.tables),
        ]
        routes = [
            *(["`/v1/forecasts/<series>`"] if forecasts else []),
            *(f"`/v1/tables/{name}/<key>`" for name in names),
        ]
        spec = dg.AssetSpec(
            ["online", self.domain, self.name],
            deps=[dg.AssetKey.from_user_string(asset) for asset in dict.fromkeys(upstream)],
            description=f"{self.description}\n\nThe API answers from it: {', '.join(routes)}.".strip(),
            group_name="production",
            kinds={"sqlite"},
            owners=list(self.owners),
            tags={"domain": self.domain},
        )
        return dg.Definitions(assets=[online_asset(env, spec, forecasts, tables)])


def online_asset(
    env: Environment, spec: dg.AssetSpec, forecasts: ForecastTable | None, tables: tuple[KeyedTable, ...]
) -> dg.AssetsDefinition:
    """The current version of the online store."""

    @dg.multi_asset(name="publish_" + "_".join(spec.key.path), specs=[spec], op_tags=precedence("serving"))
    def online() -> Iterator[dg.MaterializeResult]:
        try:
            done = publish_online(env, forecasts, tables)
        except (NothingPublished, UnservableTable) as cause:
            raise dg.Failure(description=str(cause), allow_retries=False) from cause
        yield dg.MaterializeResult(
            asset_key=spec.key,
            metadata={
                "dagster/row_count": sum(done.rows.values()),
                **{f"rows of {name}": rows for name, rows in done.rows.items()},
                "version": done.version,
                "bytes": done.size_bytes,
            },
        )

    return online
