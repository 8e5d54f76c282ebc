"""From which columns each column of a model is made: read from its SQL, without running anything.

`values` says what is known of a relation; `query`, `selected`, `tables` and `expressions` read one query; `project` goes
through a whole manifest and `stored` keeps what it found; `walk` follows columns from table to table.
`provenance` rewrites a query so that each row carries the lake rows that it was made of, `assembled` does so with all models
above a table, and `trace` asks. `passing` says what is as personal as what it was made of.

Not here: making SQL of models' templates, which dbt does (`transform.rendering`), and what is no dbt model
(`runtime.column_graph`).

What cannot be read is said to be unknown, with the reason. Nothing is guessed.
"""
