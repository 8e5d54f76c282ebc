"""What a change of definitions would do, worked out before anything runs: `caudal plan`.

`snapshot`, `columns`, `types`, `contract_changes` and `plan` are the pure core: two `Snapshot`s go in, a frozen `Plan` comes
out. `document`, `markdown` and `text` are its views. `taking` reads a snapshot from definitions, `against` finds the one to
compare with, `rows` builds what changed in a copy of the warehouse that nobody else opens, `costs` asks Dagster what things
took. Not here: doing any of it. Requests to materialize again what has been materialized are in `caudal.runtime.backfills`.
"""
