"""A ScriptModule on its way through a fold: read, folded as an AtenGraph, written back, and looked into."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch

from bnfold.errors import InternalError
from bnfold.frontends.aten.graph import AtenGraph
from bnfold.frontends.torchscript.ir import IrValue
from bnfold.frontends.torchscript.lift import lift
from bnfold.frontends.torchscript.lower import Lowered, lower
from bnfold.frontends.torchscript.observe import observe
from bnfold.frontends.torchscript.prepare import prepare
from bnfold.frontends.torchscript.ranks import fixed_forms
from bnfold.frontends.torchscript.watch import Observe, same_place, watch
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
        self._original = prepare(module, assume_inference=assume_inference)
        twins = same_place(prepared.graph, self._original.graph)
        self._original_values: dict[str, IrValue] = {
            value.name: twins[value.origin.debugName()]
            for value in self._lifted.values
            if isinstance(value.origin, torch._C.Value) and value.origin.debugName() in twins
        }
        self._lowered: Lowered | None = None

    @property
    def graph(self) -> AtenGraph:
        """The program as a graph of aten operators."""
        return self._lifted.graph

    def finish(self) -> torch.jit.ScriptModule:
        """The folded program, as a module of its own."""
        self._lowered = lower(self._lifted, self._module)
        return self._lowered.module

    def observers(self, names: Iterable[str]) -> tuple[Observe, Observe]:
        """The original and the folded program, showing tensors inside.

        Args:
            names: of tensors; those that only one of the two has are left out.
        """
        if self._lowered is None:
            raise InternalError("a program was looked into before it was lowered")
        new = self._lowered.values
        common = [name for name in dict.fromkeys(names) if name in new and name in self._original_values]
        return (
            watch(self._original.module, self._original.graph, {name: self._original_values[name] for name in common}),
            watch(self._lifted.prepared.module, self._lifted.prepared.graph, {name: new[name] for name in common}),
        )
