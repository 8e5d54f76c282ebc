"""The columns of 500 models.

A project of staging models, joins, aggregates, windows and unions in layers, 12 columns each, as a manifest and its SQL. Cold
is from nothing; warm is what a change of one model costs, files read and written.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from bench.frame import Comparison, Options, Side

MODELS = 500
COLUMNS = [f"c{i}" for i in range(12)]


def comparisons(options: Options) -> Iterator[Comparison]:
    """One model changed, against nothing known."""
    folder = options.cache / "column_lineage"
    models = max(20, int(MODELS * options.scale))
    _write(folder, models)
    yield Comparison(
        f"{models} models, one changed",
        ours=Side("bench.column_lineage:warm", str(folder)),
        against=Side("bench.column_lineage:cold", str(folder)),
        against_name="cold: nothing known (goal: 5 s, and 0.5 s for ours)",
        at_most=0.1,
    )


def cold(folder: str) -> Callable[[], object]:
    """All models, nothing known."""
    from caudal.transform.columns.project import write_columns

    return lambda: write_columns(Path(folder))


def warm(folder: str) -> Callable[[], object]:
    """All models, of which one changed since they were read."""
    from caudal.transform.columns.project import RENDERED, write_columns

    write_columns(Path(folder))
    path = Path(folder, RENDERED)
    rendered = json.loads(path.read_text())
    last = list(rendered)[-1]
    changed = Path(folder, "changed")
    changed.mkdir(exist_ok=True)
    rendered[last]["sql"] = [f"select * from ({rendered[last]['sql'][0]}) as again where c0 is not null"]
    (changed / RENDERED).write_text(json.dumps(rendered))
    (changed / "manifest.json").write_bytes(Path(folder, "manifest.json").read_bytes())
    return lambda: write_columns(changed, Path(folder))


def _write(folder: Path, models: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    names = {f"m{i}": _sql(i) for i in range(models)}
    source = {
        "unique_id": "source.b.till.sales", "resource_type": "source", "source_name": "till", "name": "sales", "schema": "raw",
        "identifier": "till__sales", "config": {"meta": {"contract": "till 1"}}, "columns": {c: {"name": c} for c in COLUMNS},
    }  # fmt: skip
    nodes = {f"model.b.{name}": _node(name, sql) for name, sql in names.items()}
    document = {
        "metadata": {"project_name": "b", "adapter_type": "duckdb"},
        "nodes": nodes,
        "sources": {source["unique_id"]: source},
    }
    (folder / "manifest.json").write_text(json.dumps(document))
    (folder / "rendered.json").write_text(json.dumps({f"model.b.{name}": {"sql": [sql]} for name, sql in names.items()}))


def _node(name: str, sql: str) -> dict[str, Any]:
    reads = {word for word in sql.replace("\n", " ").split() if word.startswith("marts.")}
    return {
        "unique_id": f"model.b.{name}", "resource_type": "model", "name": name, "alias": name, "schema": "marts", "path": f"marts/b/{name}.sql",  # noqa: E501
        "config": {"materialized": "table"}, "columns": {c: {"name": c} for c in COLUMNS}, "raw_code": sql,
        "depends_on": {"nodes": sorted(f"model.b.{r.removeprefix('marts.')}" for r in reads)},
    }  # fmt: skip


def _sql(i: int) -> str:
    above = f"marts.m{i - 25}" if i >= 25 else "raw.till__sales"
    other = f"marts.m{i - 26}" if i >= 26 else "raw.till__sales"
    listed = ",\n".join(f"    {c}" for c in COLUMNS)
    computed = ",\n".join(f"coalesce(one.{c}, two.{c}) + 1 as {c}" for c in COLUMNS[2:])
    shapes = (
        f"select\n{listed}\nfrom {above}\nwhere c0 > 1",
        (
            f"with one as (select * from {above} ), two as (select * from {other} )\n"
            f"select one.c0, two.c1,\n{computed}\nfrom one left join two on one.c0 = two.c0"
        ),
        (
            f"with grouped as (select c0, c1, {', '.join(f'sum({c}) as {c}' for c in COLUMNS[2:])} from {above} group by c0, c1)\n"  # noqa: E501
            "select * from grouped"
        ),
        (
            f"with ranked as (select *, row_number() over (partition by c0 order by c1) as place from {above} )\n"
            f"select {', '.join(COLUMNS)} from ranked where place = 1"
        ),
        f"select {', '.join(COLUMNS)} from {above} union all\nselect {', '.join(COLUMNS)} from {other} where c1 < 5",
    )
    return shapes[i % len(shapes)]
