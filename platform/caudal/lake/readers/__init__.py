"""One module a file format: a lake file -> its rows, not yet typed by the contract, in bounded memory.

What lives here knows formats and drift; what a value must be is the warehouse's business (`caudal.warehouse.parts`).

`_row` is where a person finds the row in the file, counted from 1:

| format | `_row` |
|---|---|
| CSV, JSON lines | the line on which the row starts, as an editor shows it: the header counts, and so do blank lines |
| Excel | the row of the sheet |
| Parquet | the row itself: Parquet has no lines |
"""
