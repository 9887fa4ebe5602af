"""Dialogs of the controls, and help."""
