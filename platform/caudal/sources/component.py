"""Tables of a database, as assets that copy them into the lake."""

import time
from collections.abc import Iterator, Mapping, Sequence

import dagster as dg

from caudal.environment import Environment
from caudal.precedence import precedence
from caudal.sources.sqlite import extract_table, snapshot
from caudal.store import open_store


class SqliteExtract(dg.Component, dg.Model, dg.Resolvable):
    """Copies tables of an SQLite database to `lake/<source>/<dataset>/<dataset>.parquet`, all from one snapshot.

    Attributes:
        source: the source of the datasets, which `caudal.lake.component.Datasets` declares.
        database: the file, relative to the company's `sources` folder.
        tables: dataset -> table.
        owners: such as `team:product`.
        schedule: when to look, as a cron expression in UTC. The lake sensor's first run extracts too.

    """

    source: str
    database: str
    tables: Mapping[str, str]
    schedule: str = "0 5 * * *"
    description: str = ""
    owners: Sequence[str] = ()

    @property
    def keys(self) -> dict[str, dg.AssetKey]:
        """Dataset -> asset key."""
        return {dataset: dg.AssetKey(["lake", self.source, dataset]) for dataset in self.tables}

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        env = Environment.of_module(context.defs_module_name)
        component = self
        specs = [
            dg.AssetSpec(
                key,
                description=f"Table `{self.tables[dataset]}` of {self.database}, copied whole. {self.description}",
                group_name="lake",
                kinds={"sqlite", "parquet"},
                owners=list(self.owners),
                tags={"source": self.source},
                automation_condition=dg.AutomationCondition.on_cron(self.schedule),
            )
            for dataset, key in self.keys.items()
        ]

        @dg.multi_asset(name=f"extract_{self.source}", specs=specs, can_subset=True, op_tags=precedence("sources"))
        def extract(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult]:
            lake = open_store(env.lake_url, env.acts_as)
            with snapshot(env.sources / component.database) as connection:
                for dataset, key in component.keys.items():
                    if key not in context.selected_asset_keys:
                        continue
                    began = time.monotonic()
                    path = f"{component.source}/{dataset}/{dataset}.parquet"
                    done = extract_table(connection, component.tables[dataset], lake, path)
                    yield dg.MaterializeResult(
                        key,
                        metadata={
                            "dagster/row_count": done.rows,
                            "changed": done.changed,
                            "seconds": round(time.monotonic() - began, 3),
                            "dagster/uri": f"lake/{path}",
                        },
                    )

        return dg.Definitions(assets=[extract])
