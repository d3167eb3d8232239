"""Decoders: from an operator and its arguments to what it means, one file per operator family."""
