"""Tensors whose values the program fixes: parameters, and what operators make of these alone.

Those are evaluated by torch itself, in the types of the program: a fold starts from the numbers that it computes with.
"""

from collections.abc import Mapping
from typing import Any, TypeAlias

import ml_dtypes
import numpy as np
import torch

from bnfold.affine import Array
from bnfold.errors import InternalError
from bnfold.frontends.aten.node import UNKNOWN, Argument, AtenNode, AtenValue
from bnfold.frontends.aten.registry import is_determined
from bnfold.frontends.common.evaluation import in_order_of_evaluation
from bnfold.frontends.common.precision import AnyArray
from bnfold.refusal import Reason, Refusal

_DTYPES: Mapping[torch.dtype, np.dtype[np.generic]] = {
    torch.float16: np.dtype(np.float16),
    torch.bfloat16: np.dtype(ml_dtypes.bfloat16),
    torch.float32: np.dtype(np.float32),
    torch.float64: np.dtype(np.float64),
}


_Held: TypeAlias = torch.Tensor | int | float | list[int] | Refusal
"""A constant: mostly a tensor, but its sizes are constants, too."""


class AtenConstants:
    """Reads constants, and remembers those that folding has changed, exactly."""

    def __init__(self) -> None:
        self._exact: dict[AtenValue, Array] = {}
        self._settled: dict[AtenValue, _Held] = {}

    def remember(self, value: AtenValue, exact: Array) -> None:
        """Answer these values from now on: however many folds a weight takes, it is rounded only once."""
        self._exact[value] = exact
        for stale in _made_of(value):
            if not isinstance(self._settled.get(stale), Refusal):
                self._settled.pop(stale, None)

    def read(self, value: AtenValue) -> torch.Tensor | Refusal:
        """The values of a tensor in its own type, not to be written to.

        Returns:
            The tensor; DYNAMIC_PARAMETER where the program does not fix its values, SPARSE where it is stored sparsely,
            QUANTIZED where it is stored as integers.
        """
        known: dict[AtenValue, _Held] = {}
        for step in in_order_of_evaluation(value, self._settled, _sources):
            known[step] = self._settled[step] if step in self._settled else self._evaluate(step, known)
            if isinstance(known[step], Refusal) or step.parameter is None:
                self._settled[step] = known[step]
        found = known[value]
        if isinstance(found, (torch.Tensor, Refusal)):
            return found
        return Refusal(Reason.DYNAMIC_PARAMETER, f"{value.name!r} is no tensor")

    def read_exact(self, value: AtenValue) -> Array | Refusal:
        """A parameter in float64, before the rounding of any fold.

        Returns:
            The values; a refusal as `read` gives it; MALFORMED where the tensor is not floating point.
        """
        steps: list[AtenNode] = []
        source = value
        while source not in self._exact and source.producer is not None and source.producer.operator.undo is not None:
            steps.append(source.producer)
            source = source.producer.inputs[0]
        if source in self._exact and not isinstance(self.read(value), Refusal):
            exact = torch.from_numpy(self._exact[source])
            for node in reversed(steps):
                if not node.operator.rounds:
                    exact = _run(node, {node.inputs[0]: exact}, 0)
            return exact.numpy()
        stored = self.read(value)
        if isinstance(stored, Refusal):
            return stored
        if stored.dtype not in _DTYPES:
            return Refusal(Reason.MALFORMED, f"{value.name!r} is {stored.dtype}, not a floating-point tensor")
        return stored.detach().to("cpu", torch.float64).numpy()

    def require(self, value: Argument) -> torch.Tensor:
        """As `read`, for a tensor that is known to be a constant.

        Raises:
            InternalError: it is none.
        """
        answer = self.read(value) if isinstance(value, AtenValue) else None
        if answer is None or isinstance(answer, Refusal):
            raise InternalError(f"{getattr(value, 'name', value)!r} was a constant when its node was decoded")
        return answer

    def _evaluate(self, value: AtenValue, known: "Mapping[AtenValue, _Held]") -> "_Held":
        if value.mutation:
            return Refusal(Reason.DYNAMIC_PARAMETER, f"{value.mutation!r} changes {value.name!r} in place")
        if value.parameter is not None:
            return _stored(value, value.parameter)
        node = value.producer
        if node is None:
            return Refusal(Reason.DYNAMIC_PARAMETER, f"{value.name!r} is an input of the program")
        if not _makes_constant(node):
            return Refusal(Reason.DYNAMIC_PARAMETER, f"{value.name!r} is computed by {node.label!r} ({node.op})")
        sources: dict[AtenValue, _Held] = {}
        for source in node.inputs:
            answer = known[source]
            if isinstance(answer, Refusal):
                return answer
            sources[source] = answer
        try:
            made: _Held = _run(node, sources, node.outputs.index(value))
            return made
        except TypeError:
            return Refusal(Reason.DYNAMIC_PARAMETER, f"{value.name!r} is computed by {node.label!r} ({node.op})")
        except (RuntimeError, ValueError, IndexError) as error:
            why = str(error).partition("\n")[0]
            return Refusal(Reason.MALFORMED, f"{node.label!r} ({node.op}) cannot be evaluated: {why}")


def to_torch(rounded: AnyArray) -> torch.Tensor:
    """A new tensor with these values."""
    whole = np.array(rounded, order="C")
    if whole.dtype == ml_dtypes.bfloat16:
        return torch.from_numpy(whole.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(whole)


def numpy_dtype(dtype: torch.dtype) -> np.dtype[np.generic]:
    """The same type as NumPy calls it.

    Raises:
        InternalError: it is no type that a parameter that folds can have.
    """
    if dtype not in _DTYPES:
        raise InternalError(f"a parameter of type {dtype} was to be changed")
    return _DTYPES[dtype]


def is_float(dtype: torch.dtype | None) -> bool:
    """Whether parameters of this type can be folded."""
    return dtype in _DTYPES


def _stored(value: AtenValue, tensor: torch.Tensor) -> torch.Tensor | Refusal:
    if tensor.is_quantized:
        return Refusal(Reason.QUANTIZED, f"{value.name!r} is stored as {tensor.dtype}")
    if tensor.layout != torch.strided:
        return Refusal(Reason.SPARSE, f"{value.name!r} is stored as {tensor.layout}")
    if tensor.is_meta:
        return Refusal(Reason.DYNAMIC_PARAMETER, f"{value.name!r} has no data: it is on the meta device")
    return tensor.detach()


def _makes_constant(node: AtenNode) -> bool:
    """Whether what a node makes follows from what it reads: an operator of PyTorch's own that rolls no dice."""
    if node.operator.evaluate is not None:
        return True
    return not node.operator.has_no_values and not node.writes and is_determined(node.op)


def _made_of(value: AtenValue) -> list[AtenValue]:
    """All that is computed from a value."""
    found: dict[AtenValue, None] = {}
    waiting = [value]
    while waiting:
        for node, _ in waiting.pop().readers:
            new = [output for output in node.outputs if output is not None and output not in found]
            found |= dict.fromkeys(new)
            waiting += new
    return list(found)


def _sources(value: AtenValue) -> list[AtenValue]:
    """The tensors from which a constant is computed."""
    return value.producer.inputs if value.producer is not None and _makes_constant(value.producer) else []


def _run(node: AtenNode, known: "Mapping[AtenValue, _Held]", place: int) -> Any:  # noqa: ANN401 - a tensor, or numbers
    """One result of a node.

    Raises:
        TypeError: it is neither a tensor nor a number, or an argument is not known.
    """

    def value_of(argument: Argument) -> Argument:
        if isinstance(argument, AtenValue):
            return known[argument]
        if argument is UNKNOWN:
            raise TypeError("an argument is not known")
        return [value_of(element) for element in argument] if isinstance(argument, list) else argument

    arguments = {name: value_of(argument) for name, argument in node.arguments.items()}
    if node.operator.evaluate is not None:
        return node.operator.evaluate(*arguments.values())
    with torch.no_grad():
        result = getattr(torch.ops.aten, node.op.removeprefix("aten::"))(**arguments)
    if isinstance(result, tuple) or len(node.outputs) > 1:
        result = result[place]
    if not isinstance(result, (torch.Tensor, int, float)) and not _is_sizes(result):
        raise TypeError(f"{node.op} makes no tensor")
    return result


def _is_sizes(result: object) -> bool:
    return isinstance(result, list) and all(isinstance(size, int) for size in result)
