"""One module a file format: a lake file -> its rows, not yet typed by the contract, in bounded memory.

What lives here knows formats and drift; what a value must be is the warehouse's business (`caudal.warehouse.parts`).

`_row` is where a person finds the row in the file, counted from 1:

| format | `_row` |
|---|---|
| CSV, fixed width, JSON lines | the line on which the row starts, as an editor shows it: header and blank lines count |
| Excel | the row of the sheet |
| JSON, XML | the number of the element: several may stand on a line |
| Parquet, Avro, ORC | the row itself: these have no lines |

A compressed file, and a member of an archive, is unpacked first (`members`), and read as what it holds.
"""
