"""How much, and when not."""
