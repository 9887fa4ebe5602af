"""One collector a time scale."""
