"""Models in which nodes that cannot be compared are stood in for: operators that onnxruntime lacks, and random ones.

Such a node hides all that is behind it. But it is the same node in both models, and a fold changes parts in front of it
and behind it. Those are functions by themselves, and each is judged on values of the check's own choice: what the node
would really make of its inputs does not matter. So the node hands on its first input, or where that does not fit, its
outputs are fed, and everything else is compared as always. Where a changed part holds such a node, that proves nothing.
"""

from collections.abc import Collection, Sequence, Set
from typing import TYPE_CHECKING

from bnfold.verifier.models.changed import ChangedTensor
from bnfold.verifier.models.graph import Structure
from bnfold.verifier.models.refused import Lacking
from bnfold.verifier.run.wanted import first_input_of

if TYPE_CHECKING:
    from onnx import NodeProto, ValueInfoProto


def lacking_nodes(graph: Structure, lacking: Lacking) -> list[int]:
    """The nodes of the main graph that onnxruntime has no operator or no kernel for, as it said of one of them."""
    return [
        index
        for index, node in enumerate(graph.nodes)
        if (node.domain or "ai.onnx", node.op_type) == (lacking.domain or "ai.onnx", lacking.op_type)
        and (not lacking.node or node.name == lacking.node)
    ]


def are_inside(nodes: Collection[int], tensors: Sequence[ChangedTensor], original: Structure, new: Structure) -> bool:
    """Whether some of the original's nodes, or those that are to be the same in the new model, are in changed parts."""
    made = {name for index in nodes for name in original.nodes[index].output if name}
    if not made <= new.producers.keys():
        return True
    others = {new.producers[name] for name in made}
    return any(not others.isdisjoint(changed.new) or not set(nodes).isdisjoint(changed.original) for changed in tensors)


def stood_in(graph: Structure, made: Set[str]) -> Structure | None:
    """The graph in which the nodes that make some tensors hand on their first input; None where one has none."""
    from onnx import helper

    nodes: list[NodeProto] = []
    for node in graph.nodes:
        if made.isdisjoint(node.output):
            nodes.append(node)
            continue
        source = next((name for name in node.input if name and name not in graph.constants), None)
        if source is None:
            return None
        nodes += [helper.make_node("Identity", [source], [name]) for name in node.output if name]
    return _with_nodes(graph, nodes)


def opened(graph: Structure, made: Set[str]) -> Structure | None:
    """The graph in which some tensors are fed, and not made; None where nothing says what they are like."""
    outputs = {entry.name for entry in graph.model.proto.graph.output}
    ports = [_port(graph, name) for name in sorted(made) if graph.readers(name) or name in outputs]
    known = [port for port in ports if port is not None]
    nodes = [node for node in graph.nodes if made.isdisjoint(node.output)]
    return _with_nodes(graph, nodes, known) if len(known) == len(ports) else None


def _with_nodes(graph: Structure, nodes: "Sequence[NodeProto]", inputs: "Sequence[ValueInfoProto]" = ()) -> Structure:
    """The graph with other nodes, and with further inputs."""
    from onnx import ModelProto

    proto = ModelProto()
    proto.CopyFrom(graph.model.proto)
    del proto.graph.node[:]
    proto.graph.node.extend(nodes)
    proto.graph.input.extend(inputs)
    return Structure(graph.model.derived(proto), graph.held)


def _port(graph: Structure, name: str) -> "ValueInfoProto | None":
    """What is known of a tensor: what the file declares, or what those want that read it, as their weights say."""
    from onnx import helper

    proto = graph.model.proto.graph
    entry: ValueInfoProto
    for entry in (*proto.value_info, *proto.output):
        if entry.name == name and entry.type.tensor_type.elem_type:
            return entry
    for node in (graph.nodes[index] for index in graph.readers(name)):
        weight = graph.parameter(node.input[1]) if len(node.input) > 1 and node.input[0] == name else None
        first = first_input_of(node, tuple(weight.dims)) if weight is not None else None
        if weight is not None and first:
            shape: list[int | None] = [None] * first.rank
            shape[first.axis] = first.size
            return helper.make_tensor_value_info(name, weight.data_type, shape)
    return None
