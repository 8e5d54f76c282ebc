"""`caudal migrate local gcp`: lake, ledger, raw tables, registry and published tables, copied to Google Cloud.

Each thing is copied once, whatever is killed in between, and compared with where it came from. The source is not changed.
"""
