"""Daemon state and control over a Unix socket."""
