"""Extract: what lies in databases and other systems, copied into the lake as files. Not here: reading lake files."""
