"""Unique names: the wanted name, or with a number behind it where that is taken."""

from collections.abc import Iterable


class Names(set[str]):
    """Names that are taken. They are never given back, so the numbers that were tried need not be tried again."""

    def __init__(self, names: Iterable[str] = ()) -> None:
        super().__init__(names)
        self._tried: dict[str, int] = {}

    def fresh(self, wanted: str) -> str:
        """As `fresh_name`."""
        name, number = wanted, self._tried.get(wanted, 1)
        if number > 1:
            name = f"{wanted}_{number}"
        while name in self:
            number += 1
            name = f"{wanted}_{number}"
        self._tried[wanted] = number
        self.add(name)
        return name


def fresh_name(wanted: str, taken: set[str]) -> str:
    """The wanted name, or with a number from 2 on where it is taken; taken from now on."""
    name, number = wanted, 1
    while name in taken:
        number += 1
        name = f"{wanted}_{number}"
    taken.add(name)
    return name
