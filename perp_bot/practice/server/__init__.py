"""The protocol above the market: HTTP requests, the socket hub, limits and control."""
