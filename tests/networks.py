"""Small ONNX models for tests: wide, seeded statistics, so that a wrong fold shows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

DEFAULT_OPSET = 17


@dataclass
class Network:
    """Collects nodes and initializers, and makes a checked model of them.

    Attributes:
        opset: of the default domain.
        seed: of every random tensor.
    """

    opset: int = DEFAULT_OPSET
    seed: int = 0
    ir_version: int | None = None
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    initializers: dict[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self):
        self.random = np.random.default_rng(self.seed)

    def weight(self, name: str, *shape: int, dtype="float32") -> str:
        """A normal random initializer."""
        return self.constant(name, self.random.normal(size=shape), dtype=dtype)

    def constant(self, name: str, values, dtype="float32") -> str:
        """An initializer with these values."""
        self.initializers[name] = np.asarray(values).astype(helper.tensor_dtype_to_np_dtype(_element_type(dtype)))
        return name

    def node(self, op_type: str, inputs: Sequence[str], outputs: Sequence[str] | str, **attributes) -> str:
        """A node named after its first output; returns that output."""
        outputs = [outputs] if isinstance(outputs, str) else list(outputs)
        attributes.setdefault("name", f"{outputs[0]}_node")
        self.nodes.append(helper.make_node(op_type, list(inputs), outputs, **attributes))
        return outputs[0]

    def batch_norm(self, source: str, output: str, channels: int, dtype="float32", **attributes) -> str:
        """A BatchNormalization with negative, zero and tiny scales, tiny and large variances, mean far from 0."""
        scale = self.random.normal(size=channels) * 2
        scale[: min(2, channels - 1)] = [0.0, 1e-3][: min(2, channels - 1)]
        variance = 10.0 ** self.random.uniform(-3, 1, size=channels)
        parameters = {
            "scale": scale,
            "bias": self.random.normal(size=channels) * 3,
            "mean": self.random.normal(size=channels) * 5,
            "var": variance,
        }
        names = [self.constant(f"{output}.{key}", values, dtype) for key, values in parameters.items()]
        return self.node("BatchNormalization", [source, *names], output, **attributes)

    def model(
        self,
        inputs: Mapping[str, Sequence[int | str]],
        outputs: Sequence[str] | Mapping[str, Sequence[int | str]],
        *,
        dtype="float32",
        overridable: bool = False,
        functions: Sequence[onnx.FunctionProto] = (),
        domains: Mapping[str, int] | None = None,
        check: bool = True,
    ) -> onnx.ModelProto:
        """The model. Outputs given by name alone get the shape that ONNX infers."""
        element_type = _element_type(dtype)
        tensors = [numpy_helper.from_array(values, name) for name, values in self.initializers.items()]
        graph_inputs = [helper.make_tensor_value_info(name, element_type, list(dims)) for name, dims in inputs.items()]
        if overridable:
            graph_inputs += [helper.make_tensor_value_info(t.name, t.data_type, list(t.dims)) for t in tensors]
        shapes = outputs if isinstance(outputs, Mapping) else dict.fromkeys(outputs)
        graph_outputs = [helper.make_tensor_value_info(name, element_type, dims) for name, dims in shapes.items()]
        graph = helper.make_graph(self.nodes, "graph", graph_inputs, graph_outputs, tensors)
        opsets = [helper.make_opsetid("", self.opset)]
        opsets += [helper.make_opsetid(name, version) for name, version in (domains or {}).items()]
        ir_version = self.ir_version or (8 if self.opset < 20 else 10)
        model = helper.make_model(graph, opset_imports=opsets, ir_version=ir_version, functions=list(functions))
        inferred = onnx.shape_inference.infer_shapes(model)
        for entry, known in zip(model.graph.output, inferred.graph.output, strict=True):
            entry.CopyFrom(known)
        if check:
            onnx.checker.check_model(model)
        return model


def _element_type(dtype: str) -> int:
    return getattr(TensorProto, {"float32": "FLOAT", "float64": "DOUBLE"}.get(dtype, dtype.upper()))
