"""Models: from a published table of daily values to a champion and its predictions.

Here live the forecast and its baseline, the backtest that compares them, the gate that decides, the registry
that remembers, and the component that turns a few lines of YAML into the assets of all that. Not here:
features that belong in the warehouse (they are dbt models), and anything that answers a request
(`caudal.serving`).

| module | reason to exist |
|---|---|
| `panel` | daily values of many series on one calendar: what is known, what is zero, what is closed |
| `features` | what may be known at a forecast's origin, as numbers |
| `forecast` | the LightGBM forecast: recipe, fit, predict, text form |
| `baseline` | the seasonal-naive forecast that every model has to beat |
| `backtest` | rolling-origin windows and their errors |
| `interval` | how far a forecast usually misses, for lower and upper bounds |
| `gate` | promote or refuse, with the figures |
| `plot` | forecast against actual, as a PNG |
| `registry` | MLflow on SQLite: evaluations, versions, the champion |
| `lifecycle` | evaluate, promote, predict: the steps that the assets run |
| `history` | the panel of a published table |
| `component`, `assets` | YAML to assets |
"""
