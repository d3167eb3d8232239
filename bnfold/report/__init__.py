"""What a run did, as one dataclass tree, and its renderings as text, JSON and HTML."""
