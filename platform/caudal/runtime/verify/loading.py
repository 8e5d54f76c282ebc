"""Steps about the bucket and loading."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from caudal.runtime.verify.steps import Disproved, Step, expect

if TYPE_CHECKING:
    from caudal.runtime.verify.ground import Ground

_HEADER = "day,item,units,amount\n"
#: Two days in each file.
_FILES = 3


def _bucket(ground: Ground) -> str:
    from caudal.store import open_store

    store = open_store(ground.cloud.folder("verify"), ground.cloud.impersonate)
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "once"
        source.write_text("once")
        expect([store.create("once.txt", source) for _ in range(2)], [True, False], "two creators of one object")
    expect([found.path for found in store.list("")], ["once.txt"], "the objects listed right after")
    store.delete("once.txt")
    return "one of two creators wins; a listing shows an object at once"


def _load(ground: Ground) -> str:
    for number in range(_FILES):
        ground.drop(f"{number}.csv", _HEADER + f"2024-03-01,apple,{number},1.50\n2024-03-02,pear,,-0.25\nnever,plum,1,1\n")
    loaded = ground.load()
    expect((loaded.rows_read, loaded.rows_loaded), (3 * _FILES, 2 * _FILES), "rows read and loaded")
    rows = ground.ask("SELECT item, COUNT(*), SUM(units), SUM(amount) FROM {t} WHERE day >= '2024-01-01' GROUP BY 1 ORDER BY 1")
    expect([(item, count, units) for item, count, units, _ in rows], [("apple", 3, 3), ("pear", 3, None)], "rows in BigQuery")
    table = ground.service.client.get_table(ground.table.strip("`"))
    layout = (
        table.time_partitioning and table.time_partitioning.field,
        table.clustering_fields,
        table.require_partition_filter,
    )
    expect(layout, ("day", ["item"], True), "partitioning, clustering, required filter")
    return f"{_FILES} files, {2 * _FILES} rows, {_FILES} rejects; partitioned by day, clustered by item"


def _again(ground: Ground) -> str:
    import pyarrow as pa

    table, rows = f"{ground.cloud.table('marts.twice')}", pa.table({"n": [1, 2, 3]})
    name = f"caudal-verify-{ground.cloud.datasets.strip('_')}-twice"
    first = ground.service.load_rows(rows, table, job_id=name, replace=False)
    second = ground.service.load_rows(rows, table, job_id=name, replace=False)
    expect((first.was_there, second.was_there), (False, True), "whether the job was there")
    expect(ground.ask(f"SELECT COUNT(*) FROM `{table}`"), [(3,)], "rows after asking twice")
    expect(ground.service.happened(name), True, "the job that is remembered")
    return "a load job that is asked for twice loads once"


def _free(ground: Ground) -> str:
    from google.cloud import bigquery

    uri = _part(ground, {"n": [1, 2]}, "free.parquet")
    job = ground.service.load(
        [uri],
        ground.cloud.table("marts.free"),
        job_id=f"caudal-verify-{ground.cloud.datasets.strip('_')}-free",
        schema=[bigquery.SchemaField("n", "INTEGER")],
    )
    expect(job.bytes_billed, 0, "bytes billed for a load")
    return f"a load of {job.rows} rows took {job.seconds:.1f} s on the server, and nothing was billed"


def _bad_file(ground: Ground) -> str:
    from google.cloud import bigquery

    from caudal.store import open_store
    from caudal.warehouse.bigquery.explained import BigQueryError

    good = _part(ground, {"n": [1]}, "good.parquet")
    store = open_store(ground.cloud.folder("verify"), ground.cloud.impersonate)
    with store.write("bad.parquet") as temporary:
        temporary.write_bytes(b"PAR1 this is none PAR1")
    bad, table = f"{ground.cloud.folder('verify')}/bad.parquet", ground.cloud.table("marts.halves")
    try:
        ground.service.load(
            [good, bad],
            table,
            job_id=f"caudal-verify-{ground.cloud.datasets.strip('_')}-bad",
            schema=[bigquery.SchemaField("n", "INTEGER")],
        )
    except BigQueryError as refused:
        if "bad.parquet" not in str(refused):
            raise Disproved(f"the refusal does not name the file: {refused}") from refused
    else:
        raise Disproved("a file that is no Parquet was loaded")
    expect(ground.service.kind_of(table), None, "the table after a load that failed")
    return "nothing is loaded, and the file is named"


def _evolve(ground: Ground) -> str:
    ground.drop("evolved.csv", "day,item,units,amount,shop\n2024-03-03,fig,1,2.00,north\n")
    ground.load()
    rows = ground.ask("SELECT item, shop FROM {t} WHERE day >= '2024-03-02' ORDER BY item, shop LIMIT 2")
    expect(rows, [("fig", "north"), ("pear", None)], "rows with the column that a file brought")
    return "a column that a file brought is added; older rows have none in it"


def _replace(ground: Ground) -> str:
    ground.drop("0.csv", _HEADER + "2024-03-01,quince,7,9.99\n")
    loaded = ground.load()
    rows = ground.ask("SELECT item, COUNT(*) FROM {t} WHERE day >= '2024-01-01' GROUP BY 1 ORDER BY 1")
    expect(rows, [("apple", 2), ("fig", 1), ("pear", 2), ("quince", 1)], "rows after one of the files was replaced")
    return f"the rows of one file among {_FILES + 1} were replaced ({loaded.rows_loaded} row for 2)"


def _part(ground: Ground, columns: dict[str, list[int]], name: str) -> str:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from caudal.store import open_store

    with open_store(ground.cloud.folder("verify"), ground.cloud.impersonate).write(name) as temporary:
        pq.write_table(pa.table(columns), temporary)
    return f"{ground.cloud.folder('verify')}/{name}"


STEPS = (
    Step("bucket", "objects appear whole and at once; of two creators one wins", _bucket),
    Step("load", "files of the lake become rows of a partitioned and clustered table; what does not fit is kept apart", _load),
    Step("load once", "a job's id is its transaction: asked for again, nothing is loaded twice", _again),
    Step("free load", "loading is not billed", _free, "another server bills nobody"),
    Step("bad file", "a load job is all or nothing, and names the file that it failed for", _bad_file),
    Step("evolve", "a column is added without reading or writing what is there", _evolve),
    Step("replace", "the rows of one file are replaced and the others stay", _replace),
)
