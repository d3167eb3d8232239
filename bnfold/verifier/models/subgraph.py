"""Nodes of a graph as a model of their own, with everything constant that they read."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from bnfold.verifier.models.external_data import Array
from bnfold.verifier.models.graph import Structure, names_read
from bnfold.verifier.models.load import Model

if TYPE_CHECKING:
    from onnx import NodeProto, OperatorSetIdProto, TensorProto


class Subgraph:
    """Nodes, and the tensors that belong to them.

    Args:
        around: the graph that they see.
        nodes: in order.
        tensors: their own initializers.

    Attributes:
        makes: names of the tensors that the nodes make.
        open: names of the tensors that somebody has to feed: read, not made here, and not constant around.
    """

    def __init__(self, around: Structure, nodes: Iterable["NodeProto"], tensors: Iterable["TensorProto"] = ()) -> None:
        self._around, self._nodes, self._tensors = around, list(nodes), {tensor.name: tensor for tensor in tensors}
        self.makes = {name for node in self._nodes for name in node.output if name}
        read = {name for node in self._nodes for name in names_read(node)}
        outside = sorted(read - self.makes - self._tensors.keys())
        self.open = {name for name in outside if name not in around.constants}
        self._bring(name for name in outside if name in around.constants)

    def _bring(self, names: Iterable[str]) -> None:
        """Take constants of the graph around, with the nodes that make them."""
        waiting, makers = list(names), set()
        while waiting:
            name = waiting.pop()
            tensor = self._around.parameter(name)
            if tensor is not None:
                self._tensors[name] = tensor
            elif name in self._around.producers and self._around.producers[name] not in makers:
                makers.add(self._around.producers[name])
                waiting += self._around.reads(self._around.producers[name])
        self._nodes = [*(self._around.nodes[index] for index in sorted(makers)), *self._nodes]

    def model(self, feeds: Mapping[str, Array], outputs: Iterable[str]) -> Model:
        """The model that puts out some tensors, of a value for every open one."""
        source = self._around.model
        return assemble(source, source.proto.opset_import, feeds, self._tensors, self._nodes, outputs)


def assemble(
    source: Model,
    opsets: "Sequence[OperatorSetIdProto]",
    feeds: Mapping[str, Array],
    tensors: "Mapping[str, TensorProto]",
    nodes: "Iterable[NodeProto]",
    outputs: Iterable[str],
) -> Model:
    """A model of nodes that were taken from another one.

    Args:
        source: the other one; its functions can be called.
        opsets: what the nodes mean.
        feeds: a value for each input.
        tensors: the initializers, by the names that they get.
        nodes: in order.
        outputs: what it shall put out.
    """
    from onnx import ModelProto, helper

    functions = source.proto.functions
    model = ModelProto(ir_version=source.proto.ir_version, opset_import=opsets, functions=functions)
    graph = model.graph
    graph.name = "subgraph"
    for name, values in feeds.items():
        element = helper.np_dtype_to_tensor_dtype(values.dtype)
        graph.input.append(helper.make_tensor_value_info(name, element, values.shape))
    for name, tensor in tensors.items():
        graph.initializer.append(tensor)
        graph.initializer[-1].name = name
    graph.node.extend(nodes)
    for name in outputs:
        graph.output.add(name=name)
    return source.derived(model)
