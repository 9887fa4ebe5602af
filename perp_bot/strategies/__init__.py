"""When to trade."""
