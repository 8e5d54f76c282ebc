"""What the bakery declares."""
