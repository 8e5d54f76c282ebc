"""Serving: published tables as an online store, and the HTTP API that reads it.

Here live the immutable SQLite files that applications are answered from, their reader, the API, and the
component that makes publishing them an asset. Not here: anything that computes; a request never opens the
warehouse and never runs a model.

| module | reason to exist |
|---|---|
| `online` | build a version of the online store from published tables and swap it in |
| `reader` | look-ups in the version that is current |
| `answers` | the shapes of what the API answers |
| `api` | the HTTP API, `python -m caudal.serving.api` |
| `component` | YAML to the asset that publishes |
| `catalogue` | every published table for analysts, as pages |
"""
