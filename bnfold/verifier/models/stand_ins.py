"""Models in which nodes that cannot be compared are stood in for: operators that onnxruntime lacks, and random ones.

Such a node hides all that is behind it. But it is the same node in both models, and a fold changes parts in front of it
and behind it. Those are functions by themselves, and each is judged on values of the check's own choice: what the node
would really make of its inputs does not matter. So the node hands on its first input, or where that does not fit, its
outputs are fed, and everything else is compared as always. Where a changed part holds such a node, that proves nothing.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from math import isnan
from typing import TYPE_CHECKING, Any

from bnfold.verification import Verification
from bnfold.verifier.models.changed import ChangedTensor
from bnfold.verifier.models.graph import Structure
from bnfold.verifier.models.load import Model
from bnfold.verifier.run.complaints import Lacking
from bnfold.verifier.run.wanted_sizes import sizes_of_weight

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, ValueInfoProto

_CONVOLUTIONS = ("Conv", "ConvTranspose")
# Of what others read: a matrix, tokens, images.
_RANKS = {"Gemm": 2, "MatMul": 3, "LSTM": 3, "GRU": 3, "RNN": 3}
_RANK = 4


def lacking_nodes(graph: Structure, lacking: Lacking) -> list[int]:
    """The nodes of the main graph that onnxruntime has no operator or no kernel for, as it said of one of them."""
    return [
        index
        for index, node in enumerate(graph.nodes)
        if (node.domain or "ai.onnx", node.op_type) == (lacking.domain or "ai.onnx", lacking.op_type)
        and (not lacking.node or node.name == lacking.node)
    ]


def random_nodes(graph: Structure) -> list[int]:
    """The nodes of the main graph that give other values in each run."""
    return [index for index in range(len(graph.nodes)) if graph.is_random(index)]


def are_inside(nodes: Collection[int], tensors: Sequence[ChangedTensor], original: Structure, new: Structure) -> bool:
    """Whether some of the original's nodes, or those that are to be the same in the new model, are in changed parts."""
    made = {name for index in nodes for name in original.nodes[index].output if name}
    if not made <= new.producers.keys():
        return True
    others = {new.producers[name] for name in made}
    return any(not others.isdisjoint(changed.new) or not set(nodes).isdisjoint(changed.original) for changed in tensors)


def stood_in(graph: Structure, made: Collection[str]) -> Model | None:
    """The model with nodes that hand on their first input.

    Args:
        graph: the model.
        made: names of what the nodes make.

    Returns:
        None where a node has no input to hand on.
    """
    return _rebuilt(graph, made, _handing_on)


def opened(graph: Structure, made: Collection[str]) -> Model | None:
    """The model without the nodes; what they made is fed.

    Args:
        graph: the model.
        made: names of what the nodes make.

    Returns:
        None where nothing says what that is like.
    """
    model = _rebuilt(graph, made, lambda *_: ())
    assert model is not None
    for name in sorted(_read(graph).intersection(made)):
        port = _port(graph, name)
        if port is None:
            return None
        model.proto.graph.input.append(port)
    return model


def as_partial(verdict: Verification, reasons: Sequence[str]) -> Verification:
    """A verdict on models with stand-ins, as one on the models themselves.

    Args:
        verdict: what was found.
        reasons: why nodes were stood in for.
    """
    alone = sum(tensor.passed and not isnan(tensor.excess) for tensor in verdict.tensors)
    count = len(verdict.tensors)
    said = f"{alone} of {count} changed part{'' if count == 1 else 's'} checked alone; {'; '.join(reasons)}"
    if not verdict.passed:
        return replace(verdict, warnings=(*verdict.warnings, *reasons))
    if alone < count:
        return replace(verdict, status="unchecked", problem=said)
    return replace(verdict, status="partial", warnings=(said, *verdict.warnings))


def _rebuilt(graph: Structure, made: Collection[str], instead: Any) -> Model | None:  # noqa: ANN401 - a function of a node
    from onnx import ModelProto

    nodes: list[NodeProto] = []
    for node in graph.nodes:
        if made.isdisjoint(node.output):  # type: ignore[attr-defined]
            nodes.append(node)
            continue
        others = instead(node, graph)
        if others is None:
            return None
        nodes += others
    proto = ModelProto()
    proto.CopyFrom(graph.model.proto)
    del proto.graph.node[:]
    proto.graph.node.extend(nodes)
    return graph.model.derived(proto, graph.model.beside)


def _handing_on(node: "NodeProto", graph: Structure) -> "list[NodeProto] | None":
    from onnx import helper

    source = next((name for name in node.input if name and name not in graph.constants), None)
    if source is None:
        return None
    return [helper.make_node("Identity", [source], [name]) for name in node.output if name]


def _read(graph: Structure) -> set[str]:
    names = {entry.name for entry in graph.model.proto.graph.output}
    return names.union(*(graph.reads(index) for index in range(len(graph.nodes))))


def _port(graph: Structure, name: str) -> "ValueInfoProto | None":
    """What is known of a tensor: what the file declares, or what those want that read it."""
    declared = next(_declared(graph.model.proto, name), None)
    return declared or next(_wanted(graph, name), None)


def _declared(model: "ModelProto", name: str) -> "Iterator[ValueInfoProto]":
    for entry in (*model.graph.value_info, *model.graph.output):
        if entry.name == name and entry.type.tensor_type.elem_type:
            yield entry


def _wanted(graph: Structure, name: str) -> "Iterator[ValueInfoProto]":
    """As those want it whose weights say of which rank it is, and how long one of its axes."""
    from onnx import helper

    for node in graph.nodes:
        weight = graph.parameter(node.input[1]) if len(node.input) > 1 and node.input[0] == name else None
        sizes = dict(sizes_of_weight(node, graph)) if weight is not None else {}
        if weight is None or not sizes:
            continue
        rank = len(weight.dims) if node.op_type in _CONVOLUTIONS else _RANKS.get(node.op_type, _RANK)
        shape: list[int | None] = [None] * rank
        for axis, size in sizes.items():
            shape[axis] = size
        yield helper.make_tensor_value_info(name, weight.data_type, shape)
