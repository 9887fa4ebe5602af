"""The command line: one front door, no logic inside."""
