"""Programs of torch, made alike: what they take, what they give and keep, and how to run them.

A program runs on a copy of the caller's: nothing that it writes to, its own state or what it is given, is the caller's.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from bnfold.errors import UncheckedError
from bnfold.pulse import beat
from bnfold.verifier.compare.arrays import FLOATS
from bnfold.verifier.compare.precision import COARSEST_FIRST
from bnfold.verifier.programs.ports import TorchPort
from bnfold.verifier.programs.tensors import as_arrays, comparable, named_results, numpy_dtype, same_values

if TYPE_CHECKING:
    import torch

    from bnfold.verifier.programs.parts.graph import ProgramGraph, Value


class Instance(Protocol):
    """A program as its file holds it, until it is called."""

    def call(self, leaves: Sequence[Any]) -> object:
        """Run it on leaves of arguments; its state changes."""

    def state(self) -> Mapping[str, object]:
        """What it may change in itself, as it is now, by name: tensors, numbers, lists of them."""


class Backend(Protocol):
    """How programs of one kind are run.

    Attributes:
        ports: the leaves of their arguments.
        weights: parameters, buffers and constants, of the copy that runs.
        computed: types of tensors that it says to compute.
    """

    ports: list[TorchPort]
    weights: "list[torch.Tensor]"
    computed: "set[torch.dtype]"

    def arguments(self, leaves: Sequence[Any]) -> list[Any]:
        """The arguments that leaves make."""

    def fresh(self) -> Instance:
        """The program as its file holds it."""

    def graph(self) -> "ProgramGraph":
        """The program as nodes and values.

        Raises:
            Unreadable: it cannot be taken apart.
        """

    def leave(self) -> None:
        """Nothing that the runs changed is to be seen by anybody else."""


@dataclass
class Call:
    """What one call made.

    Attributes:
        results: what it returned, by the path to it.
        changed: what it wrote to: the values before and after, by name: "input x" and, of the program, "state cache".
            The state before is that of the file.
    """

    results: dict[str, object]
    changed: dict[str, tuple[object, object]]


class TorchProgram:
    """A program that can be run.

    Args:
        role: how messages call it: "the original".
        backend: runs it.
    """

    def __init__(self, role: str, backend: Backend) -> None:
        self.role = role
        self.ports = tuple(backend.ports)
        self._backend = backend

    @property
    def weights(self) -> "list[torch.Tensor]":
        """Parameters, buffers and constants of the copy that runs."""
        return self._backend.weights

    def arguments(self, leaves: Sequence[Any]) -> list[Any]:
        """The arguments that leaves make."""
        return self._backend.arguments(leaves)

    def run(self, leaves: Sequence[Any]) -> dict[str, object]:
        """Everything that the first call returns, by name.

        Raises:
            UncheckedError: it does not run on these arguments.
        """
        return self.calls([leaves])[0].results

    def calls(self, row: Sequence[Sequence[Any]], seed: int = 0) -> list[Call]:
        """Several calls in a row, the first from the state of the file.

        Args:
            row: the leaves of the arguments of each call.
            seed: of the program's own random numbers.

        Raises:
            UncheckedError: one of them fails.
        """
        with self._guarded(seed):
            instance = self._backend.fresh()
            before = _state_of(instance)
            return [self._call(instance, leaves, before) for leaves in row]

    def graph(self) -> "ProgramGraph":
        """The program as nodes and values.

        Raises:
            Unreadable: it cannot be taken apart.
        """
        return self._backend.graph()

    def observe(self, graph: "ProgramGraph", leaves: Sequence[Any]) -> "Mapping[Value, Any]":
        """What the values of its graph are in the first call.

        Raises:
            UncheckedError: it does not run on these arguments.
        """
        with self._guarded():
            beat()
            self._backend.fresh()
            return graph.observe(self._backend.arguments(_own(leaves)))

    def state(self) -> dict[str, object]:
        """Its state as the file has it, by the names that `Call.changed` uses."""
        return _state_of(self._backend.fresh())

    def float_types(self) -> "set[np.dtype[Any]]":
        """The floating point types of its weights, and others that it computes in."""
        types = {*(tensor.dtype for tensor in self.weights), *self._backend.computed}
        found = {numpy_dtype(dtype) for dtype in types if dtype.is_floating_point}
        return {dtype for dtype in found if dtype is not None}

    def precision(self, leaves: Sequence[Any]) -> "np.dtype[Any]":
        """The coarsest floating point type among weights and arguments; float32 if there is none."""
        fed = {leaf.dtype for leaf in as_arrays(list(leaves)) if isinstance(leaf, np.ndarray)}
        found = self.float_types() | (fed & FLOATS)
        return next((dtype for dtype in COARSEST_FIRST if dtype in found), np.dtype(np.float32))

    def _call(self, instance: Instance, leaves: Sequence[Any], before: Mapping[str, object]) -> Call:
        own = _own(leaves)
        beat()
        results = named_results(instance.call(own))
        now = _state_of(instance)
        pairs = {name: (before.get(name), value) for name, value in now.items()}
        for port, given, left in zip(self.ports, leaves, own, strict=True):
            if port.is_tensor:
                pairs[f"input {port.name}"] = (comparable(given), comparable(left))
        return Call(results, {name: pair for name, pair in pairs.items() if not same_values(*pair)})

    @contextmanager
    def _guarded(self, seed: int = 0) -> Iterator[None]:
        """Without gradients, with the same random numbers every time, and with errors of one kind."""
        import torch

        try:
            with torch.no_grad(), same_random_numbers(seed):
                yield
        except Exception as error:  # whatever the program raises
            raise UncheckedError(f"torch cannot run {self.role}: {_one_line(error)}") from error
        finally:
            with torch.no_grad():
                self._backend.leave()


@contextmanager
def same_random_numbers(seed: int = 0) -> Iterator[None]:
    """Let programs draw the same numbers every time, and the caller those that were next before."""
    import torch

    generator = torch.default_generator  # torch.manual_seed asks every kind of device, and takes longer than most runs
    before = generator.get_state()
    try:
        generator.manual_seed(seed)
        yield
    finally:
        generator.set_state(before)


def _state_of(instance: Instance) -> dict[str, object]:
    return {f"state {name}": comparable(value) for name, value in instance.state().items()}


def _own(leaves: Sequence[Any]) -> list[Any]:
    """Copies, because a program may write to what it is given."""
    return [leaf.clone() if hasattr(leaf, "clone") else leaf for leaf in leaves]


def _one_line(error: Exception) -> str:
    """What the program said: of a TorchScript traceback the last line, of others the first."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    text = lines[-1] if "Traceback of TorchScript" in str(error) else lines[0]
    return text if len(text) <= 400 else text[:397] + "..."
