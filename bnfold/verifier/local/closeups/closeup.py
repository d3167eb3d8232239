"""Two small models that claim to be the same, and values for what they read."""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass

from bnfold.verifier.compare.channels import Array
from bnfold.verifier.models.changed import Site
from bnfold.verifier.models.graph import Structure
from bnfold.verifier.models.load import Model


@dataclass(frozen=True)
class Closeup:
    """The inside of a site.

    Attributes:
        original: the original's inside.
        new: the new model's; it has the same inputs.
        feeds: values of these inputs, by name.
    """

    original: Model
    new: Model
    feeds: Mapping[str, Array]


@dataclass(frozen=True)
class Place:
    """A site with the two graphs that it is part of, and values of the tensors that it begins with."""

    site: Site
    original: Structure
    new: Structure
    values: Mapping[str, Array]


Lens = Callable[[Place], Iterator[Closeup]]
"""Makes closeups of places of one kind; none of others."""


def feeds_of(ours: Collection[str], theirs: Collection[str], values: Mapping[str, Array]) -> dict[str, Array] | None:
    """Values for what two insides read; None where some are not known.

    None as well where one reads a tensor that the other does not: the two are not independent of each other then (a
    BatchNorm's output, and its input), and random values for both would prove nothing.
    """
    if set(ours) != set(theirs) or not all(name in values for name in ours):
        return None
    return {name: values[name] for name in sorted(ours)}
