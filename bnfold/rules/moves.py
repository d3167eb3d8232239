"""What a rule answers when it does not refuse."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from bnfold.affine import Affine
from bnfold.semantics import Meaning


@dataclass(frozen=True, eq=False)
class Moved:
    """A map has gone into a node, or through it.

    Attributes:
        meaning: what the node must mean from now on, or None where it stays as it is.
        requirements: the maps that must now act on the node's inputs (pull) or outputs (push), by index. None left: the
            node absorbed everything.
        alternatives: other requirements that serve as well, where the algebra leaves a choice.
    """

    meaning: Meaning | None
    requirements: Mapping[int, Affine] = field(default_factory=dict)
    alternatives: tuple[Mapping[int, Affine], ...] = ()

    @property
    def choices(self) -> tuple[Mapping[int, Affine], ...]:
        """All requirements of which one is enough, the preferred first."""
        return (self.requirements, *self.alternatives)
