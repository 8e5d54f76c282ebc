"""Sample files -> the dataset's YAML and its contract, with what was not sure as comments beside the line concerned.

| module | what it finds out |
|---|---|
| `sample` | which part of the files is looked at |
| `sniff`, `layouts` | format and encoding |
| `delimited`, `splitting`, `workbook`, `fixed`, `markup` | dialect, and where the table stands |
| `table` | the sample as a table of text, read by the lake's own readers |
| `kinds`, `moments`, `numbers`, `markers` | the type of a column |
| `keys`, `personal`, `names` | keys, personal data, path template and names |
| `candidates`, `values`, `columns`, `nested` | what is asked of the values of a column, and all that is proposed of one |
| `proposal` | all of it together, and whether the samples fit it |
| `proposed`, `render`, `writing` | the result, as YAML, as files |

Nothing here decides what a value is: a type is proposed only if the platform's own cast accepts each sampled value.
"""
