"""`caudal doctor`: whether everything is there that this environment needs, and what to do about what is missing.

`permissions` declares what Google Cloud must allow, `checks` is the result as values, `google` asks Google's interfaces;
`cloud`, `storage_checks` and `warehouse_checks` judge the answers, `machine` looks at this machine. Nothing is changed.
"""
