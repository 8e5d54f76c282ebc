"""A bakery: the smallest company with a contract, a macro, a view, two marts and something made by Python."""
