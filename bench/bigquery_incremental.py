"""What one day of new data makes BigQuery read, for each mart of the reference company: `python -m bench.bigquery_incremental`.

Bytes as the server of decision 0028 counts them: BigQuery's sizes of types, for the columns read, in the partitions that are
left. It bills nothing; Google's own service bills at least 10 MB for each table of a query.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.services.cloud import bigquery_server, storage_server

if TYPE_CHECKING:
    from tests.services.both_engines import Engines

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results" / "bigquery_incremental.md"
GOAL = 2.0
RAW = "pos__transactions"


@dataclass(frozen=True)
class Read:
    """Bytes that the jobs of one mart read.

    Attributes:
        whole: when it is built for the first time.
        day: when a day came.
        own: when there is nothing but that day.
        beside: when there is no day at all: tables that are not partitioned, which all of the others contain.

    """

    relation: str
    is_incremental: bool
    whole: int
    day: int
    own: int
    beside: int

    @property
    def ratio(self) -> float:
        return self.day / self.own if self.own else 1.0

    @property
    def ratio_of_days(self) -> float:
        """Of what is read by the day."""
        return (self.day - self.beside) / (self.own - self.beside) if self.own > self.beside else 1.0


def main() -> int:
    """Print and keep the figures; 0 if every incremental mart reached the goal."""
    parser = argparse.ArgumentParser(prog="python -m bench.bigquery_incremental", description=__doc__)
    parser.add_argument("--year", action="store_true", help="all 1.5 million lines, not a quarter of 300 households")
    parser.add_argument("--results", type=Path, default=RESULTS)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found, day = measured(Path(folder), year=given.year)
    extent = "the year" if given.year else "a quarter of 300 households"
    lines = [
        "# What a day of new data makes BigQuery read",
        "",
        f"{datetime.now(UTC):%Y-%m-%d}, {extent}, to which {day} comes. Bytes as the server of decision 0028 counts them.",
        "",
        "| mart | built anew | first build | the day comes | the day's own | ratio | of it by the day | |",
        "|---|---|---:|---:|---:|---:|---:|---|",
        *(_line(each) for each in found),
        "",
        "The day's own: what the mart reads where there is nothing but that day. Tables that are not partitioned are read",
        "whole by all, such as products and households; the last ratio is without them.",
    ]
    print("\n".join(lines))
    given.results.write_text("\n".join(lines) + "\n")
    return 0 if all(max(each.ratio, each.ratio_of_days) <= GOAL for each in found if each.is_incremental) else 1


def measured(folder: Path, *, year: bool) -> tuple[list[Read], str]:
    """Build without the newest day, then with it, then with nothing else, then without any."""
    import duckdb

    from caudal.contracts import read_contract
    from caudal.transform.project import Project
    from shop.quickstart import land
    from tests.services import both_engines as both
    from tests.shop.conftest import CONTRACTS, load

    defs = ROOT / "platform" / "shop" / "defs"
    contracts = {table: read_contract(defs / f"{path}.odcs.yaml") for table, path in CONTRACTS.items()}
    land(folder / "home", sample=not year)
    with storage_server(folder) as storage, bigquery_server(folder, storage) as server:
        cloud = both.settings(server)
        here, there = (Project(ROOT / "dbt", folder / target, target=target, cloud=cloud) for target in ("local", "bigquery"))
        engines = both.Engines(cloud, here, there, folder / "warehouse.duckdb")
        load(contracts, engines.database, folder / "home")
        with duckdb.connect(str(engines.database)) as connection:
            ((day,),) = connection.execute(f"SELECT CAST(max(transaction_timestamp) AS DATE) FROM raw.{RAW}").fetchall()
            is_new = f"transaction_timestamp >= TIMESTAMP '{day}'"
            connection.execute(f"CREATE TABLE newest AS SELECT * FROM raw.{RAW} WHERE {is_new}")
            connection.execute(f"DELETE FROM raw.{RAW} WHERE {is_new}")
        both.make_datasets(engines, "loading", engines.candidate)
        both.load_contracts(engines, server, contracts)
        noted = both.written_down(engines, both.days(engines, {}))
        first = _built(engines)
        fields = both.raw_fields(contracts[RAW])
        both.load_parquet(engines, server, RAW, fields, "SELECT * FROM newest", replace=False)
        coming = both.days(engines, noted)
        came = _built(engines, days=coming)
        read = [came]
        for number, gone in enumerate((f"transaction_timestamp < DATETIME '{day}'", "TRUE"), 2):
            engines.service.query(f"DELETE FROM `{cloud.table(f'loading.{RAW}')}` WHERE {gone}")
            other = replace(engines, candidate=f"candidate_{number}")
            both.make_datasets(other, other.candidate)
            read.append(_built(other))
        nodes = engines.manifests[1].nodes
    return [Read(nodes[u].relation, u in coming, first[u], *(each[u] for each in read)) for u in first], str(day)


def _built(engines: Engines, **placed: Any) -> dict[str, int]:
    """The bytes that each table's jobs read."""
    tables = [u for u, node in engines.manifests[1].nodes.items() if not node.is_virtual]
    results = engines.build_there(select=tables, **placed).results
    bad = {u: each.message for u, each in results.items() if each.status != "success"}
    if bad:
        raise RuntimeError(f"Not built: {bad}")
    return {u: sum(job.bytes_processed for job in results[u].jobs) for u in tables}


def _line(read: Read) -> str:
    how = "by the day" if read.is_incremental else "whole"
    verdict = ("reached" if max(read.ratio, read.ratio_of_days) <= GOAL else "**missed**") if read.is_incremental else ""
    figures = " | ".join(f"{each:,}" for each in (read.whole, read.day, read.own))
    return f"| {read.relation} | {how} | {figures} | {read.ratio:.2f}x | {read.ratio_of_days:.2f}x | {verdict} |"


if __name__ == "__main__":
    sys.exit(main())
