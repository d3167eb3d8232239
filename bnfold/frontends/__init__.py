"""Spelling only: each frontend decodes one file format to meanings, and writes changed ones back."""
