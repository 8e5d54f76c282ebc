"""Who may do what in Dagster's webserver: identity, roles, the gate before every mutation, and the audit of it.

`roles`, `settings`, `identity`, `tokens`, `keys`, `sites`, `redaction` and `audit` are the pure core; `context`, `gate`, `door`
and `webserver` put it into Dagster's webserver. What a role may *see* is the same for all; whose data that is, is no matter of
this package. The HTTP API of `caudal.serving` is not guarded here either.
"""
