"""Running it well: one code location from a company's folder, automation policy, local supervision."""
