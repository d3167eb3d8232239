"""A package of a user's: one operator, and a class that says who made it."""

import torch

LIBRARY = torch.library.Library("bnfold_test_scaling", "DEF")
LIBRARY.define("scale(Tensor x) -> Tensor")
torch.library.impl(LIBRARY, "scale", "CompositeImplicitAutograd")(lambda x: x * 2)


@torch.library.custom_op("bnfold_test_scaling::halve", mutates_args=())
def halve(x: torch.Tensor) -> torch.Tensor:
    """Half of it."""
    return x / 2


@halve.register_fake
def _(x):
    return torch.empty_like(x)


class Note:
    """A class of the package."""


open_a_file = open  # what a package can see is not what a file may call
