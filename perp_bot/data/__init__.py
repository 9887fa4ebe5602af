"""Market data in, and kept."""
