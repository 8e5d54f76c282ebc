"""A second company, an online gift shop: the proof that a company is YAML, contracts and SQL."""
