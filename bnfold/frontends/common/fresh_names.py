"""Names that nothing else has."""


def fresh_name(wanted: str, taken: set[str]) -> str:
    """The wanted name, or with a number from 2 on where it is taken; taken from now on."""
    name, number = wanted, 1
    while name in taken:
        number += 1
        name = f"{wanted}_{number}"
    taken.add(name)
    return name
