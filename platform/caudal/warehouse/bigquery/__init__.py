"""The warehouse in BigQuery: loading, candidates, publishing and reading as `caudal.warehouse` has them on this machine.

Nothing here is imported in the environment `local`. Google's libraries are imported when the service is first asked.
"""
