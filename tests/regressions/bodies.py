"""Bodies of If, Loop and Scan and model-local functions for tests, and a walk through all of a model's nodes."""

from collections.abc import Iterator, Mapping, Sequence

import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.networks import DEFAULT_OPSET, Network

Shapes = Mapping[str, Sequence[int | str]]


def body(inner: Network, inputs: Shapes, outputs: Shapes) -> onnx.GraphProto:
    """A body with float32 inputs and outputs; what is in `inner` as an initializer is one of the body."""
    weights = [numpy_helper.from_array(values, name) for name, values in inner.initializers.items()]
    return helper.make_graph(inner.nodes, "body", floats(inputs), floats(outputs), weights)


def loop_body(inner: Network, state: str, result: str, shape: Sequence[int | str]) -> onnx.GraphProto:
    """The body of a Loop with one tensor of state, which always wants another turn."""
    graph = body(inner, {}, {})
    graph.node.append(helper.make_node("Identity", ["turn_again"], ["turn_again_out"]))
    graph.input.append(helper.make_tensor_value_info("turn", TensorProto.INT64, []))
    graph.input.append(helper.make_tensor_value_info("turn_again", TensorProto.BOOL, []))
    graph.input.extend(floats({state: shape}))
    graph.output.append(helper.make_tensor_value_info("turn_again_out", TensorProto.BOOL, []))
    graph.output.extend(floats({result: shape}))
    return graph


def add_loop(network: Network, start: str, output: str, graph: onnx.GraphProto, turns: int = 2) -> str:
    """A Loop that carries one tensor."""
    network.constant(f"{output}.turns", turns, "int64")
    network.constant(f"{output}.go", True, "bool")
    return network.node("Loop", [f"{output}.turns", f"{output}.go", start], output, body=graph)


def function(
    domain: str, name: str, inputs: Sequence[str], outputs: Sequence[str], inner: Network, **options
) -> onnx.FunctionProto:
    """A model-local function; the initializers of `inner` become Constant nodes, the only form that it can hold."""
    constants = [
        helper.make_node("Constant", [], [key], value=numpy_helper.from_array(values))
        for key, values in inner.initializers.items()
    ]
    opsets = [helper.make_opsetid("", inner.opset or DEFAULT_OPSET)]
    return helper.make_function(domain, name, list(inputs), list(outputs), constants + inner.nodes, opsets, **options)


def floats(shapes: Shapes) -> list[onnx.ValueInfoProto]:
    return [helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape)) for name, shape in shapes.items()]


def all_nodes(model: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    """Every node: of the main graph, of bodies at any depth, of functions."""
    for holder in (model.graph, *model.functions):
        yield from _nodes_of(holder.node)


def count_everywhere(model: onnx.ModelProto, op_type: str) -> int:
    return sum(node.op_type == op_type for node in all_nodes(model))


def _nodes_of(nodes: Sequence[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    for node in nodes:
        yield node
        for attribute in node.attribute:
            yield from _nodes_of(attribute.g.node)
