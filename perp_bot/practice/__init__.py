"""The practice venue: recorded hours, generated minutes, the real protocol; known by cli, bench and tests only."""
