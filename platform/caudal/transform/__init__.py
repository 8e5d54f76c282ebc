"""dbt in Dagster: the company's dbt models as assets, its dbt tests as checks.

`project` parses a dbt project once for each change of it; `manifest` and `checks` read what dbt wrote; `build` runs dbt in a
process of its own and judges the outcome; `sources` writes dbt's sources from the contracts; `component`, `assets` and
`events` are the only modules that know Dagster. Only `dbt_child`, which runs in that other process, imports dbt.

Not here: SQL (it is the company's, in `dbt/`), and how a build becomes visible (`warehouse.candidate`).
"""
