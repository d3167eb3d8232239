"""Parts of a graph as a model of their own, each fed with whatever the verifier likes.

A fold claims that two parts of two graphs are the same function. Cut out, both can be run on equal inputs: what the
rest of the network does to rounding errors, or to a channel that happens to be dead, no longer matters.
"""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bnfold.verifier.models.changed import Site
from bnfold.verifier.models.dtypes import BFLOAT16, DOUBLE, FLOAT, FLOAT16
from bnfold.verifier.models.external_data import in_memory, is_external
from bnfold.verifier.models.graph import Structure, bodies
from bnfold.verifier.models.load import Model

if TYPE_CHECKING:
    from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto

Array = npt.NDArray[Any]

TO_SINGLE: Mapping[int, int] = {FLOAT16: FLOAT, BFLOAT16: FLOAT}
"""Half precision parameters in single precision arithmetic: only their own rounding is left."""
TO_DOUBLE: Mapping[int, int] = {FLOAT16: DOUBLE, BFLOAT16: DOUBLE, FLOAT: DOUBLE}
AS_STORED: Mapping[int, int] = {}
_LARGEST_INSIDE = 4096
"""Bytes. What is small may be a shape, a bound or a scale that onnxruntime wants to know when it loads the model."""


class Excerpt:
    """Collects the parts that make some tensors, and builds one model of them.

    Args:
        graph: the model that they are taken from.
        precision: the element types to compute in, where they are not those of the model.
    """

    def __init__(self, graph: Structure, precision: Mapping[int, int] = AS_STORED) -> None:
        self._graph = graph
        self._precision = precision
        self._nodes: list[NodeProto] = []
        self._parameters: dict[str, Array] = {}
        self._stored: dict[str, TensorProto] = {}
        self._inputs: dict[str, None] = {}
        self._outputs: list[str] = []

    def add(self, site: Site, nodes: Iterable[int], number: int) -> str:
        """Add the part that makes a site's tensor.

        Args:
            site: the site.
            nodes: those of the part, of this model.
            number: of the part; parts do not share tensors.

        Returns:
            The name of the excerpt's output.
        """
        return self._add(site, nodes, f"{number}.", {})

    def add_moved(self, site: Site, nodes: Iterable[int], number: int, label: str, moved: Mapping[str, Array]) -> str:
        """Add a part beside the one of `add` that has other values of some parameters.

        Nodes that see nothing of the move are not run twice.

        Args:
            site: as it was given to `add`.
            nodes: likewise.
            number: likewise.
            label: of the move.
            moved: the other values.

        Returns:
            The name of its output; that of `add` where nothing is moved.
        """
        touched = set(moved)
        again = []
        for index in nodes:
            if touched & set(self._graph.reads(index)):
                again.append(index)
                touched |= set(self._graph.nodes[index].output)
        return self._add(site, again, f"{number}.", moved, moved_prefix=f"{number}{label}.")

    def _add(
        self, site: Site, nodes: Iterable[int], prefix: str, moved: Mapping[str, Array], moved_prefix: str = ""
    ) -> str:

        made = {name for index in nodes for name in self._graph.nodes[index].output}
        own = moved_prefix or prefix

        def rename(name: str) -> str:
            if name in moved:
                return f"{own}{name}"
            if self._graph.parameter(name) is not None:
                return self._parameter(name)
            if name in made:
                return f"{own}{name}"
            if name in site.boundary:
                self._inputs[name] = None
                return f"in.{name}"
            return f"{prefix}{name}"

        for name, values in moved.items():
            self._parameters[rename(name)] = values
        for index in nodes:
            if self._graph.parameter(self._graph.nodes[index].output[0]) is None:
                self._nodes.append(self._copy(self._graph.nodes[index], rename))
        output = rename(site.tensor)
        if output not in self._outputs:
            self._outputs.append(output)
        return output

    def _parameter(self, name: str) -> str:
        key = f"w.{name}"
        if key not in self._parameters:
            self._parameters[key] = self._values(name)
            tensor = self._graph.parameter(name)
            if tensor is not None and self._stays(tensor):
                self._stored[key] = tensor
        return key

    def _stays(self, tensor: "TensorProto") -> bool:
        """Whether onnxruntime finds the values of a parameter by itself, where they are, as they are."""
        return (
            is_external(tensor)
            and tensor.name not in self._graph.model.beside
            and tensor.data_type not in self._precision
        )

    def _values(self, name: str) -> Array:
        from onnx import helper

        tensor = self._graph.parameter(name)
        assert tensor is not None, "only parameters are asked for"
        target = self._precision.get(tensor.data_type)
        values = self._graph.array(name)
        return values if target is None else values.astype(helper.tensor_dtype_to_np_dtype(target))

    def _copy(self, node: "NodeProto", rename: Any) -> "NodeProto":  # noqa: ANN401 - a function of names
        from onnx import NodeProto

        copy = NodeProto()
        copy.CopyFrom(node)
        copy.ClearField("name")
        _rename(copy, rename, frozenset())
        if self._precision:
            _convert(copy, self._precision)
        return copy

    def build(self, role: str, feeds: Mapping[str, Array]) -> Model:
        """The model.

        Args:
            role: how messages call it.
            feeds: what its inputs will be fed with, by their names in the original model.
        """
        from onnx import numpy_helper

        proto = self._without_parameters(feeds)
        beside = {}
        for name, values in self._parameters.items():
            if name in self._stored:
                proto.graph.initializer.append(self._stored[name])
                proto.graph.initializer[-1].name = name
            elif _goes_beside(values):
                beside[name] = values
                proto.graph.initializer.append(in_memory(name, values))
            else:
                proto.graph.initializer.append(numpy_helper.from_array(values, name))
        return self._graph.model.derived(proto, beside, role)

    def build_whole(self, feeds: Mapping[str, Array]) -> "ModelProto":
        """The model with all its parameters inside.

        Args:
            feeds: as for `build`.
        """
        from onnx import numpy_helper

        proto = self._without_parameters(feeds)
        for name, values in self._parameters.items():
            proto.graph.initializer.append(numpy_helper.from_array(values, name))
        return proto

    def _without_parameters(self, feeds: Mapping[str, Array]) -> "ModelProto":
        from onnx import ModelProto, helper

        source = self._graph.model.proto
        model = ModelProto(ir_version=source.ir_version, opset_import=source.opset_import, functions=source.functions)
        for function in model.functions if self._precision else ():
            for node in function.node:
                _convert(node, self._precision)
        graph = model.graph
        graph.name = "excerpt"
        for name in self._inputs:
            element = helper.np_dtype_to_tensor_dtype(feeds[name].dtype)
            target = self._precision.get(element, element)
            graph.input.append(helper.make_tensor_value_info(f"in.{name}", target, feeds[name].shape))
        graph.node.extend(self._nodes)
        for name in self._outputs:
            graph.output.add(name=name)
        return model

    def feeds(self, values: Mapping[str, Array]) -> dict[str, Array]:
        """The inputs of the excerpt out of values by name, in its precision."""
        from onnx import helper

        fed = {}
        for name in self._inputs:
            array = values[name]
            target = self._precision.get(helper.np_dtype_to_tensor_dtype(array.dtype))
            fed[f"in.{name}"] = array if target is None else array.astype(helper.tensor_dtype_to_np_dtype(target))
        return fed


def _goes_beside(values: Array) -> bool:
    return values.dtype in (np.float16, np.float32, np.float64) and values.nbytes > _LARGEST_INSIDE


def _rename(node: "NodeProto", rename: Any, own: frozenset[str]) -> None:  # noqa: ANN401 - a function of names
    """Rename what a node and its bodies read and make, but for the bodies' own names."""
    for names in (node.input, node.output):
        for place, name in enumerate(names):
            if name and name not in own:
                names[place] = rename(name)
    for body in bodies(node):
        inner = own | {entry.name for entry in body.input} | {tensor.name for tensor in body.initializer}
        inner |= {name for step in body.node for name in step.output}
        for step in body.node:
            _rename(step, rename, inner)
        for entry in body.output:
            if entry.name not in inner:
                entry.name = rename(entry.name)


def _convert(node: "NodeProto", precision: Mapping[int, int]) -> None:
    """Let a node compute in another precision: the types that its attributes and its bodies name."""
    for attribute in node.attribute:
        if attribute.name in ("to", "dtype") and attribute.i in precision:
            attribute.i = precision[attribute.i]
        if attribute.HasField("t"):
            _convert_tensor(attribute.t, precision)
        if node.op_type == "Constant" and attribute.name in ("value_float", "value_floats") and FLOAT in precision:
            _to_tensor(attribute, precision[FLOAT])
    for body in bodies(node):
        _convert_graph(body, precision)


def _convert_graph(graph: "GraphProto", precision: Mapping[int, int]) -> None:
    for tensor in graph.initializer:
        _convert_tensor(tensor, precision)
    for entry in (*graph.input, *graph.output, *graph.value_info):
        kind = entry.type.tensor_type
        if kind.elem_type in precision:
            kind.elem_type = precision[kind.elem_type]
    for node in graph.node:
        _convert(node, precision)


def _convert_tensor(tensor: "TensorProto", precision: Mapping[int, int]) -> None:
    from onnx import helper, numpy_helper

    target = precision.get(tensor.data_type)
    if target is not None:
        values = numpy_helper.to_array(tensor).astype(helper.tensor_dtype_to_np_dtype(target))
        tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))


def _to_tensor(attribute: "AttributeProto", element: int) -> None:
    from onnx import AttributeProto, helper, numpy_helper

    values = np.asarray(helper.get_attribute_value(attribute), helper.tensor_dtype_to_np_dtype(element))
    attribute.CopyFrom(AttributeProto(name="value", type=AttributeProto.TENSOR, t=numpy_helper.from_array(values)))
