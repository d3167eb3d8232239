"""The operators, one file per family: what each means, how a meaning is written back, and what is known beside that."""
