"""Models with operators between an affine node and the operator with weights, and what is asked of their folds."""

from dataclasses import dataclass, field

import numpy as np
import onnx
import pytest
from onnx import helper

from tests.folding import assert_equal_outputs, fold, fold_and_compare
from tests.networks import Network
from tests.onnx.checks import operators

KINDS = ("BN", "Mul", "Add")
SCALES = (0.0, -1.3, 1e-3, 0.7, 2.0, -0.4)


@dataclass(frozen=True)
class Step:
    """An operator with one activation and constants behind it: lists of int are int64, all else float.

    Attributes:
        op_type: of the node.
        constants: of inputs 1 and on; None leaves one out.
        attributes: of the node.
        versions: the opsets that have this form of it.
    """

    op_type: str
    constants: tuple = ()
    attributes: dict = field(default_factory=dict)
    opset: int = 17

    def __str__(self):
        given = [str(value) for value in self.constants]
        given += [f"{key}={value}" for key, value in self.attributes.items()]
        return f"{self.op_type}-{self.opset} {' '.join(given)}"

    def add(self, network, value, output, dtype="float32"):
        names = [self._constant(network, f"{output}.{i}", c, dtype) for i, c in enumerate(self.constants)]
        return network.node(self.op_type, [value, *names], output, **self.attributes)

    def _constant(self, network, name, values, dtype):
        if values is None:
            return ""
        integers = np.asarray(values).dtype.kind == "i" or np.asarray(values).size == 0
        return network.constant(name, values, "int64" if integers else dtype)


def step(op_type, *constants, opset=17, **attributes):
    return Step(op_type, constants, attributes, opset)


def steps(*entries):
    """Parametrise a test with `step`."""
    return pytest.mark.parametrize("step", entries, ids=str)


def shape_of(network, inputs, value, dtype="float32"):
    """The shape that ONNX infers: numbers and names, None for a length without a name."""
    (entry,) = network.model(inputs, [value], dtype=dtype, check=False).graph.output
    return tuple(
        dim.dim_value if dim.HasField("dim_value") else dim.dim_param or None
        for dim in entry.type.tensor_type.shape.dim
    )


def affine(network, value, output, kind, shape, *, dtype="float32", axis=1):
    """An affine node over one axis: "BN", "Mul" or "Add", and with "+" behind it one without a negative scale."""
    channels, rank = shape[axis], len(shape)
    scale = np.resize(SCALES, channels) if channels > 1 else np.array([-1.3])
    if kind.endswith("+"):
        scale = np.abs(scale)
    if kind.startswith("BN"):
        network.batch_norm(value, output, channels, dtype)
        network.constant(f"{output}.scale", scale, dtype)
        return output
    values = network.random.normal(size=channels) if kind == "Add" else scale
    aligned = [1] * rank
    aligned[axis] = channels
    constant = network.constant(f"{output}.constant", values.reshape(aligned), dtype)
    return network.node(kind.rstrip("+"), [value, constant], output)


def conv(network, value, output, inputs, outputs, *, kernel=1, rank=4, bias=True, dtype="float32", **attributes):
    names = [value, network.weight(f"{output}.weight", outputs, inputs, *(kernel,) * (rank - 2), dtype=dtype)]
    names += [network.weight(f"{output}.bias", outputs, dtype=dtype)] if bias else []
    return network.node("Conv", names, output, **attributes)


def absorber(network, value, output, shape, dtype="float32"):
    """An operator with weights that can take any map over axis 1 of its input."""
    if len(shape) == 2:
        weight = network.weight(f"{output}.weight", shape[1], 3, dtype=dtype)
        return network.node("Gemm", [value, weight, network.weight(f"{output}.bias", 3, dtype=dtype)], output)
    return conv(network, value, output, shape[1], 3, rank=len(shape), dtype=dtype)


def conv_then(chain, kind, *, image=(2, 3, 6, 4), channels=4, opset=None, dtype="float32", axis=1):
    """x -- Conv -- steps -- affine -- y."""
    network = Network(opset=opset or max(entry.opset for entry in chain))
    inputs = {"x": image}
    value = conv(network, "x", "start", image[1], channels, rank=len(image), dtype=dtype)
    for number, entry in enumerate(chain):
        value = entry.add(network, value, f"v{number}", dtype)
    affine(network, value, "y", kind, shape_of(network, inputs, value, dtype), dtype=dtype, axis=axis)
    return network.model(inputs, ["y"], dtype=dtype)


def then_conv(chain, kind, *, image=(2, 4, 6, 4), opset=None, dtype="float32", axis=1):
    """x -- affine -- steps -- Conv or Gemm -- y."""
    network = Network(opset=opset or max(entry.opset for entry in chain))
    inputs = {"x": image}
    value = affine(network, "x", "normal", kind, image, dtype=dtype, axis=axis)
    for number, entry in enumerate(chain):
        value = entry.add(network, value, f"v{number}", dtype)
    absorber(network, value, "y", shape_of(network, inputs, value, dtype), dtype)
    return network.model(inputs, ["y"], dtype=dtype)


def assert_moves(model, *expected, direction=None, shapes=None, **options):
    """Everything affine folds, these operators are left, and no tensor has kept its name with other values."""
    folded = fold_and_compare(model, shapes, **options)
    assert operators(folded.model) == list(expected), [kept.refusals for kept in folded.kept]
    assert folded.kept == ()
    assert folded.batch_norms_left == 0
    if direction is not None:
        assert {entry.direction for entry in folded.folds} == {direction}
    assert_names_hold(folded, shapes)
    return folded


def assert_stuck(model, reason, *path, downstream=False, evidence=""):
    """The one affine node stays, no byte changes, and one direction stopped for this reason at the end of the path."""
    folded = fold(model)
    assert folded.folds == ()
    assert folded.model.SerializeToString() == model.SerializeToString()
    (kept,) = folded.kept
    refusal = kept.refusals[int(downstream)]
    assert (refusal.reason, refusal.path) == (reason, tuple(f"{name}_node" for name in path)), refusal
    assert evidence in refusal.evidence
    return folded


def assert_names_hold(folded, shapes=None):
    """Every tensor that a node makes under one name in both models has the same values in both."""
    common = _made(folded.original) & _made(folded.model) - {entry.name for entry in folded.model.graph.output}
    exposed = [_with_outputs(model, sorted(common)) for model in (folded.original, folded.model)]
    assert_equal_outputs(*exposed, shapes)
    assert len(folded.model.graph.node) <= len(folded.original.graph.node)


def _made(model):
    return {name for node in model.graph.node for name in node.output if name}


def _with_outputs(model, names):
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    copy.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names)
    return copy
