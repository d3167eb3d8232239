"""Amounts of memory as people write them."""

_UNITS = (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10))


def memory(size: int) -> str:
    """A number of bytes, in the largest unit of which there is one at least: 1 MiB, 2.5 GiB, 17 bytes."""
    for unit, bytes_each in _UNITS:
        if size >= bytes_each:
            return f"{size / bytes_each:,.1f}".removesuffix(".0") + f" {unit}"
    return f"{size} bytes"
