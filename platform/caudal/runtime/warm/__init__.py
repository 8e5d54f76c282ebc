"""Runs as forks of a process that has already imported the code location.

`launcher` is Dagster's run launcher: it finds or starts the parent of a code location (`parent`), which forks a worker for
each run (`worker`). `workers` is how everybody knows which run has a worker, and that it has only one. `queue` wakes the
daemon when there is a run to launch, `monitor` ends runs whose workers are gone.

Not here: forking itself (`caudal.forking`).
"""
