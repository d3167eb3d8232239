"""A random ONNX graph under construction: tensors with known shapes, constants, nodes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from math import prod

import numpy as np
import onnx
from onnx import helper, numpy_helper

LARGEST_TENSOR = 1500
_ELEMENT_TYPES = {"float16": 10, "float32": 1, "float64": 11, "int32": 6, "int64": 7, "bool": 9, "int8": 3, "uint8": 2}


@dataclass(frozen=True)
class Tensor:
    """A floating point tensor, and the axis on which its channels are."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    axis: int

    @property
    def rank(self) -> int:
        return len(self.shape)

    @property
    def channels(self) -> int:
        return self.shape[self.axis]


@dataclass
class Builder:
    """Adds nodes; every random choice comes from one generator, so that a seed is a graph."""

    random: np.random.Generator
    opset: int
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    literals: list[onnx.NodeProto] = field(default_factory=list)
    initializers: dict[str, np.ndarray] = field(default_factory=dict)
    inputs: dict[str, tuple[str, tuple[int, ...]]] = field(default_factory=dict)
    tensors: list[Tensor] = field(default_factory=list)
    queries: list[str] = field(default_factory=list)
    functions: list[onnx.FunctionProto] = field(default_factory=list)
    count: int = 0
    _weights: dict[tuple[str, str, tuple[int, ...]], list[str]] = field(default_factory=dict)

    def chance(self, probability: float) -> bool:
        return bool(self.random.random() < probability)

    def pick(self, choices: Sequence):
        return choices[int(self.random.integers(len(choices)))]

    def between(self, low: int, high: int) -> int:
        """An integer from low to high, both included."""
        return int(self.random.integers(low, high + 1))

    def name(self, kind: str) -> str:
        self.count += 1
        return f"{kind}{self.count}"

    def input(self, dtype: str, shape: tuple[int, ...]) -> str:
        name = self.name("input")
        self.inputs[name] = (dtype, shape)
        return name

    def constant(self, values, dtype: str) -> str:
        """An initializer, or now and then a Constant node."""
        name = self.name("c")
        array = np.asarray(values).astype(dtype)
        if self.chance(0.1):
            self.literals.append(helper.make_node("Constant", [], [name], value=numpy_helper.from_array(array)))
        else:
            self.initializers[name] = array
        return name

    def parameter(self, values, dtype: str) -> str:
        """A constant, or now and then what the graph computes of initializers: about these values."""
        return self._computed(np.asarray(values).astype(dtype)) if self.chance(0.06) else self.constant(values, dtype)

    def _computed(self, array: np.ndarray) -> str:
        name = self.name("c")
        factor = self.random.uniform(0.5, 2.0, size=array.shape[-1:] if self.chance(0.5) else ()).astype(array.dtype)
        op_type = self.pick(["Mul", "Div", "Sub", "Neg"])
        made = {"Mul": array / factor, "Div": array * factor, "Sub": array + factor, "Neg": -array}[op_type]
        self.initializers[f"{name}.a"] = made.astype(array.dtype)
        operands = [f"{name}.a"]
        if op_type != "Neg":
            self.initializers[f"{name}.b"] = factor
            operands.append(f"{name}.b")
        self.literals.append(helper.make_node(op_type, operands, [name]))
        return name

    def _quantized(self, shape: tuple[int, ...], fan_in: int) -> str:
        """Integers behind a DequantizeLinear: one scale, or one along an axis; a zero point, or none."""
        name, axis = self.name("q"), self.between(0, len(shape) - 1)
        dtype = self.pick([np.int8, np.int8, np.uint8])
        cells = () if self.chance(0.4) else (shape[axis],)
        zero = 128 if dtype is np.uint8 else self.pick([0, 0, 3])
        self.initializers[f"{name}.q"] = (zero + self.random.integers(-120, 121, size=shape)).astype(dtype)
        scale = self.random.uniform(0.5, 2.0, size=cells) / (100 * np.sqrt(max(fan_in, 1)))
        self.initializers[f"{name}.scale"] = scale.astype(np.float32)
        operands = [f"{name}.q", f"{name}.scale"]
        if zero or self.chance(0.5):
            self.initializers[f"{name}.zero"] = np.full(cells, zero, dtype)
            operands.append(f"{name}.zero")
        self.literals.append(helper.make_node("DequantizeLinear", operands, [name], axis=axis))
        return self._turned(name, len(shape)) if self.chance(0.3) else name

    def _turned(self, name: str, rank: int) -> str:
        """A constant with its axes in another order and back, as exporters turn the weights of linear layers."""
        order = [int(axis) for axis in self.random.permutation(rank)]
        names = [self.name("q") for _ in range(2)]
        self.literals.append(helper.make_node("Transpose", [name], names[:1], perm=order))
        back = [int(axis) for axis in np.argsort(order)]
        self.literals.append(helper.make_node("Transpose", names[:1], names[1:], perm=back))
        return names[1]

    def integers(self, values: Sequence[int]) -> str:
        return self.constant(np.asarray(values, np.int64).reshape(len(values)), "int64")

    def shared(self, kind: str, dtype: str, shape: tuple[int, ...], draw: Callable[[], np.ndarray]) -> str:
        """A parameter of this kind and shape, now and then one that another node has already."""
        known = self._weights.setdefault((kind, dtype, shape), [])
        if known and self.chance(0.2):
            return self.pick(known)
        known.append(self.parameter(draw(), dtype))
        return known[-1]

    def weight(self, dtype: str, shape: tuple[int, ...], fan_in: int) -> str:
        """Of such a size that activations stay as large as they are; now and then stored as integers."""
        if dtype == "float32" and self.opset >= 13 and self.chance(0.08):
            return self._quantized(shape, fan_in)
        return self.shared("weight", dtype, shape, lambda: self.random.normal(size=shape) / np.sqrt(max(fan_in, 1)))

    def vector(self, dtype: str, shape: tuple[int, ...]) -> str:
        return self.shared("vector", dtype, shape, lambda: self.random.normal(size=shape))

    def scales(self, shape: tuple[int, ...]) -> np.ndarray:
        """Mostly of any sign, at times none negative; some zero, some tiny, some 1."""
        values = self.random.uniform(0.3, 2.0, size=shape)
        if self.chance(0.5):
            values = values * self.random.choice([-1, 1], size=shape)
        special = self.random.random(shape)
        return np.where(special < 0.06, 0.0, np.where(special < 0.1, 1e-3, np.where(special < 0.14, 1.0, values)))

    def node(self, op_type: str, inputs: Sequence[str], outputs: Sequence[str], **attributes) -> None:
        name = "" if self.chance(0.15) else self.name(f"{op_type}_")
        self.nodes.append(helper.make_node(op_type, list(inputs), list(outputs), name=name, **attributes))

    def add(
        self, op_type: str, inputs: Sequence, shape: Sequence[int], along: int | None = None, **attributes
    ) -> Tensor:
        """A node with one output; the first Tensor among its inputs gives dtype and, unless told, channel axis."""
        source = next(entry for entry in inputs if isinstance(entry, Tensor))
        result = Tensor(self.name("t"), tuple(shape), source.dtype, source.axis if along is None else along)
        names = [entry.name if isinstance(entry, Tensor) else entry for entry in inputs]
        self.node(op_type, names, [result.name], **attributes)
        return self.keep(result)

    def keep(self, tensor: Tensor) -> Tensor:
        """Make a tensor available to later operators; one without a channel axis left gets another."""
        if tensor.rank:
            tensor = replace(tensor, axis=tensor.axis % tensor.rank)
            self.tensors.append(tensor)
        return tensor

    def partner(self, tensor: Tensor, fits: Callable[[Tensor], bool]) -> Tensor | None:
        """Another tensor of the same dtype."""
        found = [other for other in self.tensors if other.dtype == tensor.dtype and fits(other)]
        return self.pick(found) if found else None


def size(shape: Sequence[int]) -> int:
    return prod(shape)


def value_info(name: str, dtype: str, shape: Sequence[int | str | None]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, _ELEMENT_TYPES[dtype], shape)


def element_type(dtype: str) -> int:
    return _ELEMENT_TYPES[dtype]
