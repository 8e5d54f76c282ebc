"""Environments for git branches: made as cheap copies of production, used with `CAUDAL_BRANCH`, dropped with the branch.

Not here: what keeps production unharmed, which is wherever something is written: `caudal.environment` gives a branch places of
its own, `caudal.unwritable` and `caudal.warehouse.bigquery.guard` refuse production's, `caudal.store.overlay` reads its lake.
"""
