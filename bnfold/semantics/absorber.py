"""What the engine asks of every operator with parameters that take maps in."""

from abc import ABC, abstractmethod

import numpy as np

from bnfold.affine import Array


class Absorber(ABC):
    """A meaning with parameters that take maps in. What the engine asks of them, every absorber must answer."""

    @property
    @abstractmethod
    def absorbs_output(self) -> bool:
        """Whether a map behind the node ends in its parameters, whatever map it is, and moves on nowhere."""

    @property
    @abstractmethod
    def largest_factor(self) -> float:
        """The largest absolute value of the parameters that a scale is multiplied into; 0 without any."""

    @property
    def needs_node_for_bias(self) -> bool:
        """Whether a shift in front of the node could only be taken by another node behind it."""
        return False


def largest(values: Array) -> float:
    """The largest absolute value, NaN where one is NaN; without a copy of them."""
    return float(np.maximum(values.max(initial=0.0), -values.min(initial=0.0)))
