"""Measurements; one file a subject."""
