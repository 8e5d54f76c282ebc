"""The reference company: a grocery shop with home delivery."""
