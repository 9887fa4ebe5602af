"""The signal service: three time scales on a background event loop."""
