"""Steps about candidates, publishing, versions and reading."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from caudal.runtime.verify.steps import Step, expect

if TYPE_CHECKING:
    from caudal.runtime.verify.ground import Ground


def _publish(ground: Ground) -> str:
    import pyarrow as pa

    from caudal.warehouse.candidate import open_candidate

    with open_candidate(ground.env, [ground.dataset]) as candidate:
        expires = ground.service.client.get_dataset(
            f"{ground.cloud.project}.{ground.cloud.datasets}candidate_{candidate.version}"
        ).default_table_expiration_ms
        candidate.write({"marts.daily": pa.table({"day": ["2024-03-01", "2024-03-02"], "units": [10, 4]})})
        expect(ground.service.kind_of(ground.cloud.table("marts.daily")), None, "what readers see before publishing")
        version = candidate.publish(["marts.daily"])
    rows = ground.ask(f"SELECT SUM(units) FROM `{ground.cloud.table('marts.daily')}`")
    expect(rows, [(14,)], "what readers see")
    expect(expires, 3_600_000, "milliseconds after which tables of a candidate expire")
    left = [
        d.dataset_id for d in ground.service.client.list_datasets() if d.dataset_id.startswith(f"{ground.cloud.datasets}cand")
    ]
    expect(left, [], "candidates that are left")
    return f"version {version} by clones; its candidate would have expired after an hour, and is gone"


def _snapshots(ground: Ground) -> str:
    import pyarrow as pa

    from caudal.warehouse import versions
    from caudal.warehouse.candidate import publish_tables

    publish_tables(ground.env, {"marts.daily": pa.table({"day": ["2024-03-03"], "units": [1]})})
    listed = sorted(
        (table.table_id, table.table_type)
        for table in ground.service.client.list_tables(f"{ground.cloud.project}.{ground.cloud.dataset('versions')}")
        if "daily" in table.table_id
    )
    expect([kind for _, kind in listed], ["SNAPSHOT", "SNAPSHOT"], "what is kept of two versions")
    sums = [ground.ask(f"SELECT SUM(units) FROM `{ground.cloud.table(f'versions.{name}')}`")[0][0] for name, _ in listed]
    expect(sorted(sums), [1, 14], "the rows of both")
    return f"{len(versions.kept(ground.env))} versions, each with its rows in a snapshot"


def _time_travel(ground: Ground) -> str:
    table = f"`{ground.cloud.table('marts.travelled')}`"
    ground.ask(f"CREATE TABLE {table} AS SELECT 1 AS n")
    before = ground.ask("SELECT CURRENT_TIMESTAMP()")[0][0]
    ground.ask(f"INSERT INTO {table} VALUES (2)")
    told = before.astimezone(UTC).isoformat() if isinstance(before, datetime) else str(before)
    then = ground.ask(f"SELECT COUNT(*) FROM {table} FOR SYSTEM_TIME AS OF TIMESTAMP '{told}'")
    now = ground.ask(f"SELECT COUNT(*) FROM {table}")
    expect((then, now), ([(1,)], [(2,)]), "rows then and now")
    return "a table is read as it was before a change"


def _storage_read(ground: Ground) -> str:
    from caudal.warehouse.published import read_arrow

    table = read_arrow(ground.env, "SELECT units FROM marts.daily WHERE units > 0")
    expect(table.to_pydict(), {"units": [1]}, "what readers get")
    return "one column of a published table, as Arrow"


STEPS = (
    Step("publish", "a candidate is invisible until it is published, by clones, and expires by itself", _publish),
    Step("versions", "each published version is kept as a snapshot", _snapshots),
    Step("time travel", "a table can be read as it was", _time_travel),
    Step("Storage Read", "readers get the columns that they ask for by the Storage Read API", _storage_read),
)
