"""What stands between these settings and safe trading: pure checks, and one collector that reads and never writes."""
