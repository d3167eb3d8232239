"""Programs of torch, made alike: what they take, what they give and keep, and how to run them.

A program runs on a copy of the caller's: nothing that it writes to, its own state or what it is given, is the caller's.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

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


class TorchProgram(ABC):
    """A program that can be run.

    Attributes:
        role: how messages call it: "the original".
        ports: the leaves of its arguments.
        dtypes: types of parameters, buffers and constants, and others that it says to compute in.
    """

    role: str
    ports: tuple[TorchPort, ...]
    dtypes: "set[torch.dtype]"

    @abstractmethod
    def arguments(self, leaves: Sequence[Any]) -> list[Any]:
        """The arguments that leaves make."""

    @abstractmethod
    def graph(self) -> "ProgramGraph":
        """The program as nodes and values.

        Raises:
            Unreadable: it cannot be taken apart.
        """

    @abstractmethod
    def _begin(self) -> None:
        """Let the next call be the first one: the program is as its file holds it."""

    @abstractmethod
    def _call(self, leaves: Sequence[Any]) -> object:
        """Run it on leaves of arguments; its state changes."""

    @abstractmethod
    def _kept(self) -> Mapping[str, object]:
        """What it may change in itself, as it is now, by name: tensors, numbers, lists of them."""

    @abstractmethod
    def _end(self) -> None:
        """Nothing that calls changed is to be seen by anybody else."""

    def run(self, leaves: Sequence[Any]) -> dict[str, object]:
        """Everything that the first call returns, by name.

        Raises:
            UncheckedError: it does not run on these arguments.
        """
        return self.calls([leaves])[0].results

    def calls(self, row: Sequence[Sequence[Any]]) -> list[Call]:
        """Several calls in a row, the first from the state of the file.

        Args:
            row: the leaves of the arguments of each call.

        Raises:
            UncheckedError: one of them fails.
        """
        before = self.initial
        with self._guarded():
            self._begin()
            return [self._one_call(leaves, before) for leaves in row]

    def observe(self, graph: "ProgramGraph", leaves: Sequence[Any]) -> "Mapping[Value, Any]":
        """What the values of its graph are in the first call.

        Raises:
            UncheckedError: it does not run on these arguments.
        """
        with self._guarded():
            beat()
            self._begin()
            return graph.observe(self.arguments(_own(leaves)))

    @cached_property
    def initial(self) -> dict[str, object]:
        """Its state as the file has it, by the names that `Call.changed` uses."""
        with self._guarded():
            self._begin()
            return self._state_now()

    def float_types(self) -> "set[np.dtype[Any]]":
        """The floating point types among `dtypes`, those that numpy has."""
        found = {numpy_dtype(dtype) for dtype in self.dtypes if dtype.is_floating_point}
        return {dtype for dtype in found if dtype is not None}

    def precision(self, leaves: Sequence[Any]) -> "np.dtype[Any]":
        """The coarsest floating point type among weights and arguments; float32 if there is none."""
        fed = {leaf.dtype for leaf in as_arrays(list(leaves)) if isinstance(leaf, np.ndarray)}
        found = self.float_types() | (fed & FLOATS)
        return next((dtype for dtype in COARSEST_FIRST if dtype in found), np.dtype(np.float32))

    def _one_call(self, leaves: Sequence[Any], before: Mapping[str, object]) -> Call:
        own = _own(leaves)
        beat()
        results = named_results(self._call(own))
        pairs = {name: (before.get(name), value) for name, value in self._state_now().items()}
        for port, given, left in zip(self.ports, leaves, own, strict=True):
            if port.is_tensor:
                pairs[f"input {port.name}"] = (comparable(given), comparable(left))
        return Call(results, {name: pair for name, pair in pairs.items() if not same_values(*pair)})

    def _state_now(self) -> dict[str, object]:
        return {f"state {name}": comparable(value) for name, value in self._kept().items()}

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """Without gradients, with the same random numbers every time, and with errors of one kind."""
        import torch

        try:
            with torch.no_grad(), same_random_numbers():
                yield
        except Exception as error:  # whatever the program raises
            raise UncheckedError(f"torch cannot run {self.role}: {_one_line(error)}") from error
        finally:
            with torch.no_grad():
                self._end()


@contextmanager
def same_random_numbers() -> Iterator[None]:
    """Let programs draw the same numbers every time, and the caller those that were next before."""
    import torch

    generator = torch.default_generator  # torch.manual_seed asks every kind of device, and takes longer than most runs
    before = generator.get_state()
    try:
        generator.manual_seed(0)
        yield
    finally:
        generator.set_state(before)


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
