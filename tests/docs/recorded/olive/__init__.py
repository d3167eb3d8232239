"""What the pass and its recipe use of olive-ai 0.13.0, with its signatures, for where it is not installed."""
