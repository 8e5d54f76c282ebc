"""Requests to make again what was made before, as files of the repository that somebody else has read: `caudal backfill`.

`request` is the pure core: what a file asks for. `targets` finds assets and partitions in the definitions, `launching` hands
them to Dagster exactly once, `commands` is the command line. Dagster's daemon does the work. Not here: what is refreshed by
itself (`caudal.runtime.policy`), and what a change of definitions would do (`caudal.runtime.plan`).
"""
