"""Readers of the daemon's socket, database, log and lock: one thread each, no Textual."""
