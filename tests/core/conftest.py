"""Property tests without a time limit an example: the machine may be busy, and no test asserts a time."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("no-deadline", deadline=None)
settings.load_profile("no-deadline")
