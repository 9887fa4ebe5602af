"""The version, alone in its file so that `perpbot --version` imports nothing else."""

VERSION = "0.1.0"
