"""Faults of the kinds that folding bugs make, injected into correctly folded models."""
