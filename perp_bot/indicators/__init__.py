"""Numbers from candles."""
