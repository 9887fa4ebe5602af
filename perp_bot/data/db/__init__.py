"""The SQLite store: schema, one writer thread, read-only readers."""
