"""Running it: logs, alerts, health."""
