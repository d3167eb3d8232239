"""Results on their way to where they belong: whole or not at all, and nothing else is lost on the way."""
