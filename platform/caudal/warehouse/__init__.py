"""Parts, raw tables, and the candidate that is audited before anyone can read it. Not here: SQL of any company."""
