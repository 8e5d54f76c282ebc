"""Dagster's memory on one machine: three SQLite files in write-ahead mode, with connections that are kept.

Here lives how runs, events and ticks are stored: `databases` is what a file is, `runs`, `events` and `ticks` what is in one,
`local` the three together, which `dagster.yaml` names. What is kept for how long is `caudal.runtime.housekeeping`.
"""

from caudal.runtime.storage.local import LocalStorage

__all__ = ["LocalStorage"]
