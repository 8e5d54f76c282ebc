"""dbt in Dagster: the company's dbt models as assets, its dbt tests as checks.

`project` parses a dbt project once for each change of it; `manifest` and `checks` read what dbt wrote; `build` runs dbt in a
process of its own, which `dbt_process` forks or starts, and judges the outcome; `sources` writes dbt's sources from the
contracts; `component`, `assets` and `events` are the only modules that know Dagster. Only `dbt_child` and `dbt_speed`, which
run in that other process, and `preloading`, which runs in the one that it is forked from, import dbt.

Not here: SQL (it is the company's, in `dbt/`), and how a build becomes visible (`warehouse.candidate`).
"""
