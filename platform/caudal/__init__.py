"""Caudal: an asset-based data platform on Dagster.

The packages are the stages of the data life cycle, left to right: `sources`, `lake`, `warehouse`, `transform`, `explore`,
`models`, `serving`; `runtime` runs them well. A stage imports only stages to its left, and the three modules that all of
them share: `environment` (where things live), `contracts` (what data look like) and `store` (how files are written).
Nothing here knows a company; companies are packages of their own that hold YAML, contracts and a little Python.
"""
