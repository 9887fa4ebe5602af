"""The practice venue."""
