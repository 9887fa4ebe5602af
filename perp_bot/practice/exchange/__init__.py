"""The practice exchange: accounts, orders, matching, margin, funding and liquidation, by the venue's rules."""
