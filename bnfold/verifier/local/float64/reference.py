"""Operators by onnx's reference implementation, in float64: complete, but slow at contractions and pooling.

Where a node has bodies or calls a function, what is in there is computed by the table here where that knows it: onnx's
own BatchNormalization takes the statistics of the batch before version 14, and its ConvTranspose has no groups.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from bnfold.intake.walk import bodies
from bnfold.verifier.local.float64.operator import OPERATORS, Array, Call, NotComputedError
from bnfold.verifier.models.dtypes import BFLOAT16, DOUBLE, FLOAT, FLOAT16
from bnfold.verifier.models.graph import Structure, captures, is_standard

if TYPE_CHECKING:
    from onnx import AttributeProto, FunctionProto, GraphProto, NodeProto, OperatorSetIdProto, TensorProto

_NARROWER = (FLOAT, FLOAT16, BFLOAT16)
_OWN = ("BatchNormalization", "Conv", "ConvTranspose", "Gemm", "MatMul")


class ReferenceNode:
    """A node of a graph, ready to run again and again.

    Args:
        graph: that it is in.
        node: the node.
    """

    def __init__(self, graph: Structure, node: "NodeProto") -> None:
        self._graph, self._node = graph, node
        self._is_whole_graph = any(bodies(node)) or graph.function(node) is not None
        self._holds_tensors = self._is_whole_graph or any(entry.HasField("t") for entry in node.attribute)
        self._evaluator: Any = None

    def run(
        self, inputs: Sequence[Array | None], values: Mapping[str, Array], stored: Mapping[str, Array]
    ) -> list[Array]:
        """Its outputs.

        Args:
            inputs: what it reads; None for one that is left out.
            values: tensors of the graph, for what bodies capture.
            stored: values of stored tensors; of those in bodies and functions as well, by name.

        Raises:
            NotComputedError: the reference implementation lacks it, or stumbles.
        """
        given = {name: array for name, array in zip(self._node.input, inputs, strict=True) if array is not None}
        given |= {name: values[name] if name in values else stored[name] for name in captures(self._node)}
        try:
            if self._evaluator is None or self._holds_tensors:
                self._evaluator = self._ready(given, stored)
            made = self._evaluator.run(None, given)
        except Exception as error:  # onnx's implementations raise what they like
            raise NotComputedError(f"{self._node.op_type}: {error}") from error
        if not all(isinstance(array, np.ndarray) for array in made):
            raise NotComputedError(f"{self._node.op_type} gives other values than tensors")
        places = iter(made)
        return [next(places) if name else np.empty(0) for name in self._node.output]

    def _ready(self, given: Collection[str], stored: Mapping[str, Array]) -> Any:  # noqa: ANN401 - a ReferenceEvaluator
        from onnx import NodeProto

        own = NodeProto()
        own.CopyFrom(self._node)
        _widen(own, stored)
        called = self._graph.model.proto.functions if self._is_whole_graph else ()
        functions = [_widened_function(function, stored) for function in called]
        return _evaluator([own], given, filter(None, own.output), self._graph.model.proto.opset_import, functions)


def holds_a_value(node: "NodeProto") -> bool:
    """Whether a node is a stored tensor, or a tensor of one stored number."""
    return node.op_type in ("Constant", "ConstantOfShape") and is_standard(node)


def _evaluator(
    nodes: "Sequence[NodeProto]",
    inputs: Iterable[str],
    outputs: Iterable[str],
    opsets: "Sequence[OperatorSetIdProto]",
    functions: "Sequence[FunctionProto]",
) -> Any:  # noqa: ANN401 - a ReferenceEvaluator
    from onnx import helper

    begin, end = ([helper.make_empty_tensor_value_info(name) for name in names] for names in (inputs, outputs))
    graph = helper.make_graph(nodes, "nodes", begin, end)
    proto = helper.make_model(graph, opset_imports=opsets, functions=functions)
    return _evaluator_class()(proto)


def by_reference(op_type: str, version: int, inputs: Sequence[Array | None], attributes: Mapping[str, Any]) -> Array:
    """The first output of an operator of ONNX, called without a graph.

    Args:
        op_type: the operator.
        version: of ONNX's operators.
        inputs: what it reads; None for one that is left out.
        attributes: those that are not left out.

    Raises:
        NotComputedError: as `ReferenceNode.run`.
    """
    from onnx import helper

    given = {f"x{place}": array for place, array in enumerate(inputs) if array is not None}
    names = [f"x{place}" if f"x{place}" in given else "" for place in range(len(inputs))]
    node = helper.make_node(op_type, names, ["y"], **attributes)
    try:
        made: Array = _evaluator([node], given, ["y"], [helper.make_opsetid("", version)], ()).run(None, given)[0]
    except Exception as error:  # onnx's implementations raise what they like
        raise NotComputedError(f"{op_type}: {error}") from error
    return made


def computed_constants(graph: Structure, nodes: Sequence[int], output: str) -> dict[str, Array]:
    """What nodes compute of stored tensors alone, rounded at every step as a runtime rounds it; then in float64.

    Args:
        graph: that they are in.
        nodes: their indices, in order.
        output: the tensor that they make in the end; it is left out.

    Returns:
        By name; nothing where there is no such tensor, or where onnx's reference implementation stumbles.
    """
    constant = [
        graph.nodes[index] for index in nodes if set(filter(None, graph.nodes[index].output)) <= graph.constants
    ]
    made = [name for node in constant for name in node.output if name and name != output]
    read = {name for node in constant for name in (*node.input, *captures(node)) if name} - set(made)
    if not made:
        return {}
    stored = {name: graph.array(name) for name in read if graph.parameter(name) is not None}
    proto = graph.model.proto
    try:
        values = _evaluator(constant, stored, made, proto.opset_import, proto.functions).run(None, stored)
    except Exception:  # onnx's implementations raise what they like
        return {}
    found = {name: array for name, array in zip(made, values, strict=True) if isinstance(array, np.ndarray)}
    return {name: array if array.dtype.kind in "biuOU" else array.astype(np.float64) for name, array in found.items()}


def _widened_function(function: Any, stored: Mapping[str, Array]) -> Any:  # noqa: ANN401 - a FunctionProto
    own = type(function)()
    own.CopyFrom(function)
    for node in own.node:
        _widen(node, stored)
    return own


def _widen(node: "NodeProto", stored: Mapping[str, Array]) -> None:
    """Let a node compute in float64: the types that its attributes and its bodies name, and the numbers in them."""
    for attribute in node.attribute:
        if attribute.name in ("to", "dtype") and attribute.i in _NARROWER:
            attribute.i = DOUBLE
        if attribute.HasField("t"):
            _replace(attribute.t, stored.get(node.output[0]) if holds_a_value(node) else None)
        if node.op_type == "Constant" and attribute.name in ("value_float", "value_floats"):
            _as_tensor(attribute)
    for body in bodies(node):
        _widen_graph(body, stored)


def _widen_graph(graph: "GraphProto", stored: Mapping[str, Array]) -> None:
    for tensor in graph.initializer:
        _replace(tensor, stored.get(tensor.name))
    for entry in (*graph.input, *graph.output, *graph.value_info):
        if entry.type.tensor_type.elem_type in _NARROWER:
            entry.type.tensor_type.elem_type = DOUBLE
    for node in graph.node:
        _widen(node, stored)


def _replace(tensor: "TensorProto", values: Array | None) -> None:
    from onnx import numpy_helper

    if tensor.data_type in (*_NARROWER, DOUBLE):
        found = numpy_helper.to_array(tensor) if values is None else values
        tensor.CopyFrom(numpy_helper.from_array(found.astype(np.float64), tensor.name))


def _as_tensor(attribute: "AttributeProto") -> None:
    from onnx import AttributeProto, helper, numpy_helper

    values = np.asarray(helper.get_attribute_value(attribute), np.float64)
    attribute.CopyFrom(AttributeProto(name="value", type=AttributeProto.TENSOR, t=numpy_helper.from_array(values)))


@cache
def _evaluator_class() -> Any:  # noqa: ANN401 - a class of onnx's
    """An evaluator that knows the table; onnx makes one of the same class for each function, without its operators."""
    from onnx.reference import ReferenceEvaluator

    class Evaluator(ReferenceEvaluator):
        def __init__(self, proto: Any, **settings: Any) -> None:  # noqa: ANN401
            operators = [_as_reference(op_type) for op_type in _OWN]
            super().__init__(proto, **{**settings, "new_ops": operators})

    return Evaluator


def _as_reference(op_type: str) -> Any:  # noqa: ANN401 - a class of onnx's
    """An operator of the table as onnx's reference implementation wants it."""
    from onnx.reference.op_run import OpRun

    def run(self: Any, *inputs: Array, **attributes: Any) -> tuple[Array, ...]:  # noqa: ANN401
        given = {name: value for name, value in attributes.items() if value is not None}
        call = Call(op_type, self.run_params["opsets"][""], len(self.onnx_node.output), given)
        made = OPERATORS[op_type](call, *inputs)
        return (made,) if isinstance(made, np.ndarray) else tuple(made)

    return type(op_type, (OpRun,), {"op_domain": "", "_run": run})
