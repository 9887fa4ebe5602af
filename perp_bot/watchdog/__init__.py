"""A small process of its own that protects the account while the daemon is gone."""
