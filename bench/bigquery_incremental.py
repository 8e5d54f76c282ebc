"""What one day of new data makes BigQuery read, and bill, for each mart of the company: `python -m bench.bigquery_incremental`.

Bytes as the server of decision 0028 counts them: BigQuery's sizes of types, for the columns read, in the partitions that are
left. A query is billed for whole MiB, and for at least 10 MiB of each table that it reads, as Google's price list has it
(https://cloud.google.com/bigquery/pricing): below that a table costs the same whole as by the day. So what larger companies
would be billed for is told too, computed as `caudal plan --cost` does.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.services.cloud import bigquery_server, storage_server

if TYPE_CHECKING:
    from caudal.transform.outcome import BuildResult
    from tests.services.both_engines import Engines

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results" / "bigquery_incremental.md"
GOAL = 2.0
RAW = "pos__transactions"
#: The last one that is whole: the year ends with five hours of the next one.
_LAST_DAY = f"""
    WITH days AS (SELECT CAST(transaction_timestamp AS DATE) AS day, count(*) AS lines FROM raw.{RAW} GROUP BY day)
    SELECT max(day) FROM days WHERE lines > (SELECT avg(lines) / 2 FROM days)
"""
MIB = 2**20
#: How many times as large the companies are that are computed.
LARGER = (10, 100, 1_000, 10_000)


@dataclass(frozen=True)
class Asked:
    """What the jobs of one node read, and were billed for, in bytes."""

    processed: int
    billed: int


@dataclass(frozen=True)
class Mart:
    """What one mart was made of.

    Attributes:
        whole: when it is built for the first time.
        day: when a day came.
        own: when there is nothing but that day.
        beside: when there is no day at all: tables that are not partitioned, which all of the others contain.

    """

    relation: str
    is_incremental: bool
    whole: Asked
    day: Asked
    own: Asked
    beside: Asked

    @property
    def processed_ratio(self) -> float:
        """Of what is read by the day: without tables that are read whole by all."""
        own = self.own.processed - self.beside.processed
        return (self.day.processed - self.beside.processed) / own if own else 1.0

    @property
    def billed_ratio(self) -> float:
        return self.day.billed / self.own.billed

    def ratio_of(self, times: int) -> float:
        """In a company so many times as large: how much each of its tables has is not known, so by all of them."""
        from caudal.warehouse.bigquery.costs import billed_for

        # Where it is built by the day none of its tables is above what is billed at least, and MERGE reads its own as well.
        tables = [round(each.billed / (10 * MIB)) for each in (self.day if self.is_incremental else self.own, self.own)]
        day, own = (billed_for(times * e.processed, n) for e, n in zip((self.day, self.own), tables, strict=True))
        return day / own


def main() -> int:
    """Print and keep the figures; 0 if every mart is billed within the goal."""
    parser = argparse.ArgumentParser(prog="python -m bench.bigquery_incremental", description=__doc__)
    parser.add_argument("--sample", action="store_true", help="a quarter of 300 households, not all 1.5 million lines")
    parser.add_argument("--results", type=Path, default=RESULTS)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found, tests, day = measured(Path(folder), year=not given.sample)
    extent = "a quarter of 300 households" if given.sample else "the year, 1.5 million lines"
    page = report(found, tests, f"{datetime.now(UTC):%Y-%m-%d}, {extent}, to which {day} comes.")
    print(page)
    given.results.write_text(page)
    return 0 if all(each.billed_ratio <= GOAL for each in found) else 1


def report(found: list[Mart], tests: Asked, circumstances: str) -> str:
    lines = [
        "# What a day of new data makes BigQuery read, and bill",
        "",
        f"{circumstances} Bytes as the server of decision 0028 counts them.",
        "",
        f"| MiB billed | built | the day comes | the day's own | ratio | goal | {' | '.join(f'{n:,} times' for n in LARGER)} |",
        f"|---|---|---:|---:|---:|---|{'---:|' * len(LARGER)}",
        *(_billed(each) for each in found),
        "",
        "| bytes processed | first build | the day comes | the day's own | ratio | of what is read by the day |",
        "|---|---:|---:|---:|---:|---:|",
        *(_processed(each) for each in found),
        "",
        "The day's own: what the mart reads where there is nothing but that day. Tables that are not partitioned are read",
        "whole by all, such as products and households; the last ratio is without them. MERGE reads, and is billed for, the",
        "table that it adds to. The last columns are computed: the ratio of a company of which every table, and the day, is so",
        "many times as large. That is too much for the rows of daily_totals, which are as many as there are days.",
        "",
        f"Their tests read {tests.processed:,} bytes when the day comes, and are billed {tests.billed // MIB:,} MiB.",
    ]
    return "\n".join(lines) + "\n"


def measured(folder: Path, *, year: bool) -> tuple[list[Mart], Asked, str]:
    """Build without a day, then with it, then with nothing else, then without any."""
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
        cloud = server.settings("EU")
        here, there = (Project(ROOT / "dbt", folder / target, target=target, cloud=cloud) for target in ("local", "bigquery"))
        engines = both.Engines(cloud, here, there, folder / "warehouse.duckdb")
        load(contracts, engines.database, folder / "home")
        with duckdb.connect(str(engines.database)) as connection:
            ((day,),) = connection.execute(_LAST_DAY).fetchall()
            is_new = f"CAST(transaction_timestamp AS DATE) = DATE '{day}'"
            connection.execute(f"CREATE TABLE newest AS SELECT * FROM raw.{RAW} WHERE {is_new}")
            connection.execute(f"DELETE FROM raw.{RAW} WHERE {is_new}")
        both.make_datasets(engines, "loading", engines.candidate)
        both.load_contracts(engines, server, contracts)
        whole = both.days(engines, {})
        checks = engines.manifests[1].checks
        first, _, result = _built(engines, tests=[u for u, check in checks.items() if check.by_day])
        engines.noted.update(both.written_down(engines, whole, result))
        fields = both.raw_fields(contracts[RAW])
        both.load_parquet(engines, server, RAW, fields, "SELECT * FROM newest", replace=False)
        coming = both.days(engines, engines.noted)
        came, tests, _ = _built(engines, tests=checks, days=coming)
        read = [came]
        for number, gone in enumerate((f"CAST(transaction_timestamp AS DATE) <> DATE '{day}'", "TRUE"), 2):
            engines.service.query(f"DELETE FROM `{cloud.table(f'loading.{RAW}')}` WHERE {gone}")
            other = replace(engines, candidate=f"candidate_{number}")
            both.make_datasets(other, other.candidate)
            read.append(_built(other)[0])
        nodes = engines.manifests[1].nodes
    marts = [Mart(nodes[u].relation, u in coming, first[u], *(each[u] for each in read)) for u in first]
    return marts, tests, str(day)


def _built(engines: Engines, *, tests: Collection[str] = (), **placed: Any) -> tuple[dict[str, Asked], Asked, BuildResult]:
    """What each table's jobs asked for, and all of the tests'; the result."""
    manifest = engines.manifests[1]
    tables = [u for u, node in manifest.nodes.items() if not node.is_virtual]
    tests = [u for u in tests if manifest.checks[u].attached_to in tables]
    result = engines.build_there(select=[*tables, *tests], **placed)
    results = result.results
    bad = {u: each.message for u, each in results.items() if each.status not in ("success", "pass")}
    if bad:
        raise RuntimeError(f"Not built: {bad}")
    return {u: _asked(results, [u]) for u in tables}, _asked(results, tests), result


def _asked(results: Any, nodes: list[str]) -> Asked:
    jobs = [job for unique_id in nodes for job in results[unique_id].jobs]
    return Asked(sum(job.bytes_processed for job in jobs), sum(job.bytes_billed for job in jobs))


def _billed(mart: Mart) -> str:
    how = "by the day" if mart.is_incremental else "whole"
    verdict = "reached" if mart.billed_ratio <= GOAL else "**missed**"
    larger = " | ".join(f"{mart.ratio_of(times):.2f}x" for times in LARGER)
    billed = " | ".join(f"{each.billed // MIB:,}" for each in (mart.day, mart.own))
    return f"| {mart.relation} | {how} | {billed} | {mart.billed_ratio:.2f}x | {GOAL:g}x {verdict} | {larger} |"


def _processed(mart: Mart) -> str:
    figures = " | ".join(f"{each.processed:,}" for each in (mart.whole, mart.day, mart.own))
    ratio = mart.day.processed / mart.own.processed
    return f"| {mart.relation} | {figures} | {ratio:.2f}x | {mart.processed_ratio:.2f}x |"


if __name__ == "__main__":
    sys.exit(main())
