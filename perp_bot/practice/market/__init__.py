"""The market below the protocol: recorded anchors, generated paths, books, trades and contexts."""
