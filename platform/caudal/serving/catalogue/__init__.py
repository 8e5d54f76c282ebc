"""The catalogue for analysts: every published table with what it holds, what it promises, how it stands and how to query it.

Here live the catalogue as one frozen value, what it takes from the published file, its pages, and how the API keeps it. None
of this knows Dagster: `caudal.runtime.catalogue` collects what Dagster knows and makes the value.

| module | reason to exist |
|---|---|
| `values` | the catalogue as a value, and its file |
| `relations` | what the published file itself tells: columns, rows, the first rows, masked |
| `markup` | HTML in which every text is escaped |
| `pages` | the front page, the list of all columns, the search entries |
| `table_page` | the page of one table |
| `recipes` | how to query a table, by tool |
| `site` | all files of the site by path; written to a folder |
| `kept` | the catalogue as the API serves it, made anew in a process of its own when it is old |
"""
