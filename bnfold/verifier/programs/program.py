"""Programs of torch, made alike: what they take, what they give and keep, and how to run them.

A program runs on a copy of the caller's: nothing that it writes to, its own state or what it is given, is the caller's.
"""

from abc import ABC, abstractmethod
from collections import ChainMap
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from bnfold.errors import UncheckedError, first_line
from bnfold.pulse import beat
from bnfold.verifier.compare.arrays import FLOATS
from bnfold.verifier.models.precision import COARSEST_FIRST
from bnfold.verifier.programs.ports import TorchPort
from bnfold.verifier.programs.tensors import as_arrays, comparable, named_leaves, numpy_dtype, same_values

if TYPE_CHECKING:
    import torch

    from bnfold.verifier.programs.parts.graph import ProgramGraph, Value


@dataclass(frozen=True)
class Call:
    """What one call made.

    Attributes:
        results: what it returned, by the path to it.
        left: what it may write to, as it is behind the call, by name: "input x" and, of the program, "state cache".
        changed: of these, the names of what is not as it was: of the state, before the first call.
    """

    results: Mapping[str, object]
    left: Mapping[str, object]
    changed: Collection[str]

    @property
    def changed_state(self) -> list[str]:
        """What it changed of the program."""
        return [name for name in self.changed if name.startswith("state ")]


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
    _versions: Mapping[str, int] = MappingProxyType({})

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
    def _held(self) -> Mapping[str, Any]:
        """What it holds in itself, as it is now, by name: tensors, numbers, lists of them."""

    @abstractmethod
    def _end(self) -> None:
        """Nothing that calls changed is to be seen by anybody else."""

    def calls(self, row: Sequence[Sequence[Any]]) -> list[Call]:
        """Several calls in a row, the first from the state of the file.

        Args:
            row: the leaves of the arguments of each call.

        Raises:
            UncheckedError: one of them fails.
        """
        before = self.initial
        with self._guarded():
            self._begin_anew()
            return [self._one_call(leaves, before) for leaves in row]

    def observe(self, graph: "ProgramGraph", leaves: Sequence[Any]) -> "Mapping[Value, Any]":
        """What the values of its graph are in the first call.

        Raises:
            UncheckedError: it does not run on these arguments.
        """
        with self._guarded():
            beat()
            self._begin_anew()
            return graph.observe(self.arguments(_own(leaves)))

    @cached_property
    def initial(self) -> dict[str, object]:
        """Its state as the file has it, by the names that `Call.left` uses."""
        with self._guarded():
            self._begin_anew()
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

    def _one_call(self, leaves: Sequence[Any], state: Mapping[str, object]) -> Call:
        own = _own(leaves)
        beat()
        results = {path: comparable(leaf) for path, leaf in named_leaves(self._call(own)).items()}
        before, now = {**state, **self._inputs(leaves)}, {**self._state_now(), **self._inputs(own)}
        changed = [name for name, value in now.items() if not same_values(before.get(name), value)]
        return Call(results, ChainMap(now, before), changed)

    def _begin_anew(self) -> None:
        self._begin()
        held = self._held().items()
        self._versions = {name: value._version for name, value in held if hasattr(value, "_version")}

    def _written(self) -> dict[str, Any]:
        """What it may have written to in itself: all but parameters, which are large, and tell it by their version."""
        held = self._held().items()
        return {
            name: value
            for name, value in held
            if not (getattr(value, "requires_grad", False) and value._version == self._versions.get(name))
        }

    def _state_now(self) -> dict[str, object]:
        return {f"state {name}": comparable(value) for name, value in self._written().items()}

    def _inputs(self, leaves: Sequence[Any]) -> dict[str, object]:
        pairs = zip(self.ports, leaves, strict=True)
        return {f"input {port.name}": comparable(leaf) for port, leaf in pairs if port.is_tensor}

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        """Without gradients, with the same random numbers every time, and with errors of one kind."""
        import torch

        try:
            with torch.no_grad(), same_random_numbers():
                yield
        except Exception as error:  # whatever the program raises
            raise UncheckedError(f"torch cannot run {self.role}: {first_line(error)[:400]}") from error
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
