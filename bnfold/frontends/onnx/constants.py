"""Tensors whose values the file fixes: initializers, Constant nodes, and what simple operators make of them."""

from collections.abc import Mapping, Sequence
from math import prod
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import onnx
import onnx.helper
from onnx.helper import tensor_dtype_to_np_dtype

from bnfold.errors import InternalError
from bnfold.frontends.common.evaluation import in_order_of_evaluation
from bnfold.frontends.common.parameters import NewParameter
from bnfold.frontends.onnx.attributes import ReferenceAttributeError, attribute
from bnfold.frontends.onnx.computed import can_compute, compute
from bnfold.frontends.onnx.constant_ops import AnyArray, is_float, too_large
from bnfold.frontends.onnx.graph import OnnxNode, OnnxValue
from bnfold.frontends.onnx.storage import TensorStore
from bnfold.refusal import Reason, Refusal
from bnfold.weight import Weight

_Answer = TypeVar("_Answer")

INLINE_FUNCTIONS = "inline the functions of the model first, such as with onnx.inliner.inline_local_functions"


class OnnxConstants:
    """Reads constants, and remembers those that folding has changed, exactly.

    Args:
        store: where the data of initializers lies.
        keep_overridable: treat initializers that are also graph inputs as unknown.
    """

    def __init__(self, store: TensorStore, *, keep_overridable: bool = False) -> None:
        self._store = store
        self._keep_overridable = keep_overridable
        self._changed: dict[OnnxValue, NewParameter] = {}
        self._dynamic: dict[OnnxValue, Refusal | None] = {}
        self._computed: dict[OnnxValue, AnyArray] = {}
        self._numbers: dict[tuple[OnnxNode, str], npt.NDArray[np.float64]] = {}

    @property
    def changed(self) -> Mapping[OnnxValue, NewParameter]:
        """The parameters that folding has given new values."""
        return self._changed

    def remember(self, value: OnnxValue, parameter: NewParameter) -> None:
        """Answer these values for this tensor from now on.

        However many folds a weight takes, each starts from the exact values, so that it is rounded only once.
        """
        self._changed[value] = parameter
        self._forget_computed_of(value)

    def remember_numbers(self, node: OnnxNode, name: str, parameter: NewParameter) -> None:
        """Likewise for numbers that a node holds in an attribute."""
        self._numbers[node, name] = parameter.exact

    def numbers(self, node: OnnxNode, name: str) -> npt.NDArray[np.float64]:
        """A list of floats among a node's attributes, before the rounding of any fold; none if it is absent."""
        known = self._numbers.get((node, name))
        return np.array(attribute(node, name, ()), np.float64) if known is None else known

    def _forget_computed_of(self, value: OnnxValue) -> None:
        """What has been computed of a tensor is not so any more; of others that are no constants, nothing was."""
        seen: set[OnnxValue] = {value}
        waiting = [value] if self._computed else []
        while waiting:
            stale = waiting.pop()
            self._computed.pop(stale, None)
            made = {made for node, _ in stale.readers for made in node.outputs if made in self._dynamic} - seen
            constant = [entry for entry in made if entry is not None and self._dynamic[entry] is None]
            seen.update(constant)
            waiting += constant

    def holds(self, value: OnnxValue) -> bool:
        """Whether the file itself holds the tensor's values, and nobody may replace them."""
        if value.producer is not None:
            return value.producer.traits.holds_values
        replaced = value.is_input and (self._keep_overridable or value.scope.parent is not None)
        return value.is_initializer and not replaced

    def read_exact(self, value: OnnxValue) -> npt.NDArray[np.float64] | Refusal:
        """A parameter in float64, before the rounding of any fold.

        Returns:
            The values; a refusal as `read` gives it; MALFORMED where the tensor is not floating point.
        """
        values = self.read_as_stored(value)
        return values if isinstance(values, Refusal) else values.astype(np.float64, copy=False)

    def read_as_stored(self, value: OnnxValue) -> AnyArray | Refusal:
        """As `read_exact`, in the type of the file where nothing has changed them: that is exact, and has no copy."""
        if value in self._changed:
            return self._changed[value].exact
        values = self.read(value)
        if not isinstance(values, Refusal) and not is_float(values.dtype):
            return Refusal(Reason.MALFORMED, f"{value.name!r} is {values.dtype}, not a floating-point tensor")
        return values

    def folded_weight(self, value: OnnxValue) -> Weight | None:
        """What folding has made of a weight, not multiplied out; None of other tensors."""
        changed = self._changed.get(value)
        return None if changed is None else changed.weight

    def require(self, value: OnnxValue | None) -> AnyArray:
        """As `read`, for a tensor that is known to be a constant.

        Raises:
            InternalError: it is none.
        """
        return _required(value, None if value is None else self.read(value))

    def dtype_of(self, value: OnnxValue | None) -> np.dtype[np.generic]:
        """The type of a tensor that is known to be a constant.

        Raises:
            InternalError: it is none.
        """
        changed = None if value is None else self._changed.get(value)
        if changed is not None:
            return changed.stored.dtype
        stored = None if value is None or value.producer is not None else value.initializer
        return self.require(value).dtype if stored is None else tensor_dtype_to_np_dtype(stored.data_type)

    def require_exact(self, value: OnnxValue | None) -> npt.NDArray[np.float64]:
        """As `read_exact`, for a tensor that is known to be a constant.

        Raises:
            InternalError: it is none.
        """
        return _required(value, None if value is None else self.read_exact(value))

    def read(self, value: OnnxValue) -> AnyArray | Refusal:
        """The values of a tensor in its own type, as the file has them.

        Returns:
            The array; DYNAMIC_PARAMETER where they are not fixed by the file, SPARSE where they are stored sparsely,
            OVERRIDABLE where the caller may replace them and that is to be respected.
        """
        if value in self._changed:
            return self._changed[value].rounded
        refusal = self._why_dynamic(value)
        if refusal is not None:
            return refusal
        known: dict[OnnxValue, AnyArray | Refusal] = {}
        for step in in_order_of_evaluation(value, self._computed, _sources):
            found = self._computed[step] if step in self._computed else self._evaluate(step, known)
            if isinstance(found, Refusal):
                self._dynamic[step] = found
            known[step] = found
        return known[value]

    def why_unknown(self, value: OnnxValue) -> Refusal | None:
        """Why `read` does not give the values; None where it does, and no changed weight is multiplied out for that."""
        if value in self._changed:
            return None
        values = self.read(value)
        return values if isinstance(values, Refusal) else None

    def numbers_stored(self, value: OnnxValue) -> int:
        """How many numbers the file stores to say a constant; a ConstantOfShape says as many as it has with one."""
        sources = [step for step in in_order_of_evaluation(value, self._changed, _sources) if self._is_stored(step)]
        return sum(self.require(source).size for source in sources)

    def _is_stored(self, value: OnnxValue) -> bool:
        node = value.producer
        return value in self._changed or node is None or (node.traits.holds_values and not node.inputs)

    def is_fixed(self, value: OnnxValue) -> bool:
        """Whether a tensor depends on nothing but what the file fixes."""
        return value in self._changed or self._why_dynamic(value) is None

    def _why_dynamic(self, value: OnnxValue) -> Refusal | None:
        """Why a tensor is no constant, without a look at any values; None if it is one, as far as that tells."""
        for step in in_order_of_evaluation(value, self._dynamic, _sources):
            if step not in self._dynamic:
                self._dynamic[step] = self._why_itself(step)
        return self._dynamic[value]

    def _why_itself(self, value: OnnxValue) -> Refusal | None:
        node = value.producer
        if node is None:
            return self._why_not_stored(value)
        if not _makes_constant(node):
            return _computed(value, node)
        dynamic = next((refusal for source in _sources(value) if (refusal := self._dynamic[source]) is not None), None)
        return dynamic if dynamic is None or node.traits.evaluate is not None else _computed(value, node)

    def _why_not_stored(self, value: OnnxValue) -> Refusal | None:
        if value.is_sparse:
            return Refusal(Reason.SPARSE, f"{value.name!r} is a sparse initializer")
        if value.initializer is None and value not in self._changed:
            hint = INLINE_FUNCTIONS if value.scope.is_function else ""
            return Refusal(Reason.DYNAMIC_PARAMETER, f"{value.name!r} is an input of {value.scope.label}", hint=hint)
        if value.is_input and value.scope.parent is not None:
            return Refusal(
                Reason.DYNAMIC_PARAMETER, f"{value.name!r} is a state of {value.scope.label}, not a constant"
            )
        if value.is_input and self._keep_overridable:
            return Refusal(Reason.OVERRIDABLE, f"{value.name!r} is an initializer and a graph input")
        return None

    def _evaluate(self, value: OnnxValue, known: Mapping[OnnxValue, AnyArray | Refusal]) -> AnyArray | Refusal:
        if value in self._changed:
            return self._changed[value].rounded
        node = value.producer
        if node is None:
            return _required(value, None if value.initializer is None else self._store.read(value.initializer))
        operands = []
        for source in _sources(value):
            operand = known[source]
            if isinstance(operand, Refusal):
                return operand
            operands.append(operand)
        try:
            return self._apply(value, node, operands)
        except ReferenceAttributeError as error:
            return Refusal(Reason.DYNAMIC_PARAMETER, str(error))
        except (ValueError, TypeError, IndexError, KeyError) as error:
            return Refusal(Reason.MALFORMED, f"{node.label!r} ({node.op}) cannot be evaluated: {error}")

    def _apply(self, value: OnnxValue, node: OnnxNode, operands: Sequence[AnyArray]) -> AnyArray | Refusal:
        if node.traits.holds_values:
            return self._fill(node, operands[0]) if operands else self._read_constant_node(node)
        if node.traits.evaluate is not None:
            return node.traits.evaluate(node, operands)
        result = compute(node, operands)
        if not isinstance(result, Refusal):
            self._computed[value] = result
        return result

    def _read_constant_node(self, node: OnnxNode) -> AnyArray | Refusal:
        """Every form of Constant. Source: ONNX Constant-1 to -25."""
        (entry,) = node.proto.attribute
        if entry.ref_attr_name:
            raise ReferenceAttributeError(f"attribute {entry.name!r} is given by the caller of the function")
        match entry.name:
            case "value":
                return self._store.read(entry.t)
            case "value_float" | "value_floats":
                return np.array(onnx.helper.get_attribute_value(entry), np.float32)
            case "value_int" | "value_ints":
                return np.array(onnx.helper.get_attribute_value(entry), np.int64)
            case "sparse_value":
                return Refusal(Reason.SPARSE, f"{node.label!r} is a sparse constant")
        raise ValueError(f"attribute {entry.name!r} holds no number")

    def _fill(self, node: OnnxNode, shape: AnyArray) -> AnyArray | Refusal:
        """ConstantOfShape, without memory for the repeated value. Source: ONNX ConstantOfShape-9 to -25."""
        fill: onnx.TensorProto | None = attribute(node, "value", None)
        number = np.zeros(1, np.float32) if fill is None else self._store.read(fill)
        lengths = [int(length) for length in shape.reshape(-1).tolist()]
        refusal = too_large(node, prod(lengths), [number])
        return refusal or np.broadcast_to(number.reshape(-1)[:1].reshape(()), lengths)


def _makes_constant(node: OnnxNode) -> bool:
    """Whether the node makes a constant when all its inputs are constants."""
    traits = node.traits
    return traits.holds_values or traits.evaluate is not None or can_compute(node)


def _sources(value: OnnxValue) -> list[OnnxValue]:
    """The tensors on whose values a computed constant depends."""
    node = value.producer
    if node is None or not _makes_constant(node):
        return []
    return [source for slot, source in enumerate(node.inputs) if source is not None and node.reads_values_of(slot)]


def _required(value: OnnxValue | None, values: _Answer | Refusal | None) -> _Answer:
    if values is None or isinstance(values, Refusal):
        name = "an absent input" if value is None else repr(value.name)
        raise InternalError(f"{name} was a constant when its node was decoded, and is none now")
    return values


def _computed(value: OnnxValue, node: OnnxNode) -> Refusal:
    return Refusal(Reason.DYNAMIC_PARAMETER, f"{value.name!r} is computed by {node.label!r} ({node.op})")
