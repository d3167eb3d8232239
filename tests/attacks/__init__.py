"""Files that nobody means well with: each ends in one line, and nothing is written."""
