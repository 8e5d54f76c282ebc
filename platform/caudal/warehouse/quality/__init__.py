"""Rules of whole tables, tried: what breaks them, what was expected, which rows, and which version of a table has passed.

Rules as values, and how contracts declare them, are in `caudal.contracts.rules` and `caudal.contracts.quality`. What rows
promise by themselves is kept when files are loaded, and is not looked at here again. dbt's tests are in `caudal.transform`.
"""
