"""Erasing a person (GDPR, article 17) from lake, raw tables, rejects, published tables and copies: `caudal erasure`.

`subjects` finds the tables and columns that identify people, `finding` what there is of one person, which is a `plan.Plan`:
frozen, without the value itself, and read by somebody else before `applying` does what it says. `lake_files` takes rows out of
files of the lake, `copies` out of what is kept beside the tables, `report` tells the data-protection officer. Not here: that
erased rows never come back, which is `caudal.warehouse.suppression`'s.
"""
