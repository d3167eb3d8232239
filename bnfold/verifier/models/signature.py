"""What a model takes and gives: names, types and declared shapes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np

if TYPE_CHECKING:
    from onnx import ValueInfoProto

ELEMENTS: dict[str, "np.dtype[Any]"] = {
    "float": np.dtype(np.float32),
    "double": np.dtype(np.float64),
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
    "bool": np.dtype(np.bool_),
    "string": np.dtype(np.object_),
    **{name: np.dtype(name) for name in ("float16", "int8", "int16", "int32", "int64")},
    **{name: np.dtype(name) for name in ("uint8", "uint16", "uint32", "uint64")},
}
"""onnxruntime's names of the tensor elements that a check can draw and compare."""


@dataclass(frozen=True)
class Port:
    """One input or output.

    Attributes:
        name: its name.
        type: as onnxruntime spells it: "tensor(float)", "seq(tensor(int64))", "optional(tensor(float))".
        shape: the declared sizes: an int, a symbol, or None where nothing is said; () for a scalar and for an unknown
            rank alike.
    """

    name: str
    type: str
    shape: tuple[int | str | None, ...]

    @property
    def dtype(self) -> "np.dtype[Any] | None":
        """Of the tensor, or of the tensors in an optional or a sequence; None where ELEMENTS does not have it."""
        inner = self.type.removeprefix("optional(").removeprefix("seq(").removeprefix("tensor(").rstrip(")")
        return ELEMENTS.get(inner)

    @property
    def is_sequence(self) -> bool:
        """Whether it is a sequence of tensors. Its shape is that of each of them; () says nothing of it."""
        return self.type.startswith(("seq(tensor(", "optional(seq(tensor("))


def declared_shape(entry: "ValueInfoProto") -> tuple[int | str | None, ...]:
    """What a file declares of an input, or of the tensors in it: sizes as those of a Port."""
    kind = entry.type.sequence_type.elem_type if entry.type.HasField("sequence_type") else entry.type
    return tuple(
        dim.dim_value if dim.HasField("dim_value") and dim.dim_value >= 0 else dim.dim_param or None
        for dim in kind.tensor_type.shape.dim
    )


@dataclass(frozen=True)
class Signature:
    """The ports of a model: those that must be fed, those that have a default, those that come out, each in order."""

    inputs: tuple[Port, ...]
    overridable: tuple[Port, ...]
    outputs: tuple[Port, ...]


def signature_difference(original: Signature, new: Signature) -> str:
    """What a caller of the original would notice of the new model, in one line; empty if nothing.

    The new model may have lost inputs that had a default, nothing else. Sizes that only one of the two declares
    are no difference: they are compared where they exist, on the values.
    """
    known = {port.name: port for port in original.overridable}
    for port in new.overridable:
        if known.get(port.name) != port:
            return f"input {port.name!r} has a default value in the new model and is not such an input of the original"
    for kind, ours, theirs in (
        ("input", original.inputs, new.inputs),
        ("output", original.outputs, new.outputs),
    ):
        difference = _name_difference(kind, ours, theirs) or _type_difference(kind, ours, theirs)
        if difference:
            return difference
    return ""


def _name_difference(kind: str, original: Sequence[Port], new: Sequence[Port]) -> str:
    before, after = [port.name for port in original], [port.name for port in new]
    if before == after:
        return ""
    missing = [name for name in before if name not in after]
    extra = [name for name in after if name not in before]
    parts = [f"{kind}s missing: {', '.join(missing)}"] if missing else []
    parts += [f"{kind}s added: {', '.join(extra)}"] if extra else []
    return "; ".join(parts) or f"{kind}s in another order: {', '.join(after)} against {', '.join(before)}"


def _type_difference(kind: str, original: Sequence[Port], new: Sequence[Port]) -> str:
    for before, after in zip(original, new, strict=True):
        if before.type != after.type:
            return f"{kind} {before.name!r} is {after.type} against {before.type} in the original"
        differ = before.shape != after.shape if kind == "input" else _contradict(before.shape, after.shape)
        if differ:
            return f"{kind} {before.name!r} is declared {in_brackets(after.shape)} against {in_brackets(before.shape)}"
    return ""


def _contradict(before: tuple[int | str | None, ...], after: tuple[int | str | None, ...]) -> bool:
    """Whether no tensor could have both shapes. Symbols of outputs may be onnxruntime's own inventions."""
    if not before or not after:
        return False
    both = zip(before, after, strict=False)
    return len(before) != len(after) or any(isinstance(a, int) and isinstance(b, int) and a != b for a, b in both)


def in_brackets(shape: tuple[int | str | None, ...]) -> str:
    """A shape as messages have it: [n, 3, ?]."""
    return f"[{', '.join('?' if size is None else str(size) for size in shape)}]"
