"""See executorch."""
