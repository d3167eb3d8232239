"""How much one protobuf message can hold."""

LARGEST_MESSAGE = 2**31 - 2**20
"""Bytes of weights in a message of at most 2 GiB, with room for the rest of the model."""
