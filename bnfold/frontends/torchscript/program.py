"""A ScriptModule on its way through a fold: read, folded as an AtenGraph, and written back."""

from collections.abc import Sequence
from typing import Any

import torch

from bnfold.frontends.aten.graph import AtenGraph
from bnfold.frontends.torchscript.lift import lift
from bnfold.frontends.torchscript.lower import lower
from bnfold.frontends.torchscript.observe import observe
from bnfold.frontends.torchscript.prepare import prepare
from bnfold.frontends.torchscript.ranks import fixed_forms
from bnfold.frontends.torchscript.written import written_places


class ScriptProgram:
    """One fold of one module.

    Args:
        module: left as it is.
        examples: arguments of forward that it runs on; empty where nobody knows any, and then only those ranks are
            known that the program fixes.
        assume_inference: fold the module as it is in evaluation mode.

    Attributes:
        graph: to be folded before `finish`.

    Raises:
        UnsupportedModelError: it has no forward, or its code reaches files or the network.
    """

    def __init__(
        self, module: torch.jit.ScriptModule, examples: Sequence[Any] = (), *, assume_inference: bool = False
    ) -> None:
        self._module = module
        prepared = prepare(module, assume_inference=assume_inference)
        forms = observe(prepared, examples) if examples else fixed_forms(prepared)
        self._lifted = lift(prepared, forms, written_places(prepared))

    @property
    def graph(self) -> AtenGraph:
        """The program as a graph of aten operators."""
        return self._lifted.graph

    def finish(self) -> torch.jit.ScriptModule:
        """The folded program, as a module of its own."""
        return lower(self._lifted, self._module)
