"""Alerts: one message for one cause to those who own it, another when it is over, and none lost in between.

`watching` tells what Dagster and the ledger say as `facts`; `book` keeps incidents and what is to be said about them in
`alerts.db`; `delivery` says it through the channels that `settings` describe. Only `component`, `sensor` and `watching` import
Dagster. Not here: figures for Prometheus, which are `caudal.runtime.metrics`.
"""
