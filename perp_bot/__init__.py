"""perpbot: a trading bot for Hyperliquid perpetual futures."""
