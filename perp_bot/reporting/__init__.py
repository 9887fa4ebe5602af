"""Derived reports for people: terminal summaries, the HTML report, the review of a week."""
