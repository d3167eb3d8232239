"""Decoders: from a node of the file to what it means, one file per operator family."""
