"""Processes forked from one that has already imported what they need.

Starting Python and importing Dagster, dbt or a company's definitions costs seconds; a fork costs milliseconds. A server here
is one process with one thread that imports, listens on a Unix socket, and forks a child for each request: `caudal up` has
one from which its services come, and each code location has one from which its runs and their dbt builds come.

Here: the server, its client, and what goes over the socket. Not here: what is forked, and who decides to (`runtime`).
"""
