"""Tensors whose values the program fixes: parameters, and what simple operators make of them."""

from collections.abc import Container, Mapping

import ml_dtypes
import numpy as np
import torch

from bnfold.affine import Array
from bnfold.errors import InternalError
from bnfold.frontends.aten.graph import Argument, Node, Value, operators
from bnfold.frontends.aten.layout import CONVERSIONS, LAYOUTS
from bnfold.refusal import Reason, Refusal
from bnfold.rules.precision import AnyArray

# What programs compute from their parameters and nothing else. They are evaluated by torch itself.
_ARITHMETIC = operators(
    """
    _to_copy add arange cat div exp full full_like index_select mul neg ones ones_like pow reciprocal rsqrt rsub
    scalar_tensor select slice sqrt stack sub sum to zeros zeros_like
    """
)
_DTYPES: Mapping[torch.dtype, np.dtype[np.generic]] = {
    torch.float16: np.dtype(np.float16),
    torch.bfloat16: np.dtype(ml_dtypes.bfloat16),
    torch.float32: np.dtype(np.float32),
    torch.float64: np.dtype(np.float64),
}


class Constants:
    """Reads constants, and remembers those that folding has changed, exactly."""

    def __init__(self) -> None:
        self._exact: dict[Value, Array] = {}
        self._settled: dict[Value, torch.Tensor | Refusal] = {}

    def remember(self, value: Value, exact: Array) -> None:
        """Answer these values from now on: however many folds a weight takes, it is rounded only once."""
        self._exact[value] = exact
        self._settled = {known: answer for known, answer in self._settled.items() if isinstance(answer, Refusal)}

    def read(self, value: Value) -> torch.Tensor | Refusal:
        """The values of a tensor in its own type, not to be written to.

        Returns:
            The tensor; DYNAMIC_PARAMETER where the program does not fix its values, SPARSE where it is stored sparsely,
            QUANTIZED where it is stored as integers.
        """
        known: dict[Value, torch.Tensor | Refusal] = {}
        for step in _in_order_of_evaluation(value, self._settled):
            known[step] = self._settled[step] if step in self._settled else self._evaluate(step, known)
            if isinstance(known[step], Refusal) or step.parameter is None:
                self._settled[step] = known[step]
        return known[value]

    def read_exact(self, value: Value) -> Array | Refusal:
        """A parameter in float64, before the rounding of any fold.

        Returns:
            The values; a refusal as `read` gives it; MALFORMED where the tensor is not floating point.
        """
        steps: list[Node] = []
        source = value
        while source not in self._exact and source.producer is not None and source.producer.op in LAYOUTS:
            steps.append(source.producer)
            source = source.producer.inputs[0]
        if source in self._exact and not isinstance(self.read(value), Refusal):
            exact = torch.from_numpy(self._exact[source])
            for node in reversed(steps):
                if node.op not in CONVERSIONS:
                    exact = _run(node, {node.inputs[0]: exact})
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
        answer = self.read(value) if isinstance(value, Value) else None
        if answer is None or isinstance(answer, Refusal):
            raise InternalError(f"{getattr(value, 'name', value)!r} was a constant when its node was decoded")
        return answer

    def _evaluate(self, value: Value, known: Mapping[Value, torch.Tensor | Refusal]) -> torch.Tensor | Refusal:
        if value.mutation:
            return Refusal(Reason.DYNAMIC_PARAMETER, f"{value.mutation!r} changes {value.name!r} in place")
        if value.parameter is not None:
            return _stored(value, value.parameter)
        node = value.producer
        if node is None:
            return Refusal(Reason.DYNAMIC_PARAMETER, f"{value.name!r} is an input of the program")
        if not _makes_constant(node):
            return Refusal(Reason.DYNAMIC_PARAMETER, f"{value.name!r} is computed by {node.label!r} ({node.op})")
        sources: dict[Value, torch.Tensor] = {}
        for source in node.inputs:
            answer = known[source]
            if isinstance(answer, Refusal):
                return answer
            sources[source] = answer
        try:
            return _run(node, sources)
        except (RuntimeError, TypeError, ValueError, IndexError) as error:
            why = str(error).partition("\n")[0]
            return Refusal(Reason.MALFORMED, f"{node.label!r} ({node.op}) cannot be evaluated: {why}")


def to_torch(rounded: AnyArray) -> torch.Tensor:
    """A tensor of its own with these values."""
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


def _stored(value: Value, tensor: torch.Tensor) -> torch.Tensor | Refusal:
    if tensor.is_quantized:
        return Refusal(Reason.QUANTIZED, f"{value.name!r} is stored as {tensor.dtype}")
    if tensor.layout != torch.strided:
        return Refusal(Reason.SPARSE, f"{value.name!r} is stored as {tensor.layout}")
    if tensor.is_meta:
        return Refusal(Reason.DYNAMIC_PARAMETER, f"{value.name!r} has no data: it is on the meta device")
    return tensor.detach()


def _makes_constant(node: Node) -> bool:
    return (node.op in LAYOUTS or node.op in _ARITHMETIC) and not node.writes and len(node.outputs) == 1


def _in_order_of_evaluation(value: Value, settled: Container[Value]) -> list[Value]:
    """The tensors that `value` is made of, each after its own sources. Not recursive: chains can be long."""
    order: dict[Value, None] = {}
    waiting = [value]
    while waiting:
        node = None if waiting[-1] in settled else waiting[-1].producer
        unknown = [source for source in node.inputs if source not in order] if node and _makes_constant(node) else []
        if unknown:
            waiting += unknown
        else:
            order[waiting.pop()] = None
    return list(order)


def _run(node: Node, known: Mapping[Value, torch.Tensor]) -> torch.Tensor:
    namespace, _, name = node.op.partition("::")
    operator = getattr(getattr(torch.ops, namespace), name)

    def value_of(argument: Argument) -> Argument:
        if isinstance(argument, Value):
            return known[argument]
        return [value_of(element) for element in argument] if isinstance(argument, list) else argument

    with torch.no_grad():
        result = operator(**{name: value_of(argument) for name, argument in node.arguments.items()})
    if not isinstance(result, torch.Tensor):
        raise TypeError(f"{node.op} makes no tensor")
    return result
