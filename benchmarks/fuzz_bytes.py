"""What every kind of hostile file in `benchmarks.fuzz` is made with: odd numbers, odd texts, damaged bytes."""

import random

NUMBERS = (0, 1, -1, 2, 3, 7, 255, 2**20, 2**31 - 1, 2**31, 2**32, 2**40, 2**62, 2**63 - 1, -(2**63))
TEXTS = ("", "x", "y", "\x1b[31m", "a\nb", "\0", "../x", "/dev/zero", "[red]", "<b>", "-->", "9" * 30, "é", "n0")


def mutate_bytes(data: bytes, rng: random.Random) -> bytes:
    """Flip, cut out, double or insert some bytes."""
    changed = bytearray(data)
    for _ in range(rng.choice([1, 1, 2, 5, 20])):
        place = rng.randrange(len(changed)) if changed else 0
        length = rng.choice([1, 2, 8, 40])
        kind = rng.randrange(4)
        if kind == 0 and changed:
            changed[place] ^= 1 << rng.randrange(8)
        elif kind == 1:
            del changed[place : place + length]
        elif kind == 2:
            changed[place:place] = changed[place : place + length]
        elif changed:
            changed[place] = rng.choice([0, 1, 0x7F, 0x80, 0xFF])
    return bytes(changed)
