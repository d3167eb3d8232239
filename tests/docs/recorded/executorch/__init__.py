"""What the recipe uses of executorch 1.5.1, with its signatures, for where it is not installed."""
