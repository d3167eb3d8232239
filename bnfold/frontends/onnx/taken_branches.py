"""Ifs whose condition the file fixes: the nodes of the branch that is taken stand in their place.

Exporters write a choice of the model's author, or a question about shapes, as an If. Where the file answers it, an
operator with weights on one side and a BatchNorm on the other are as near to each other as without it.
"""

from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass

import onnx
import onnx.helper

from bnfold.errors import ModelFormatError
from bnfold.frontends.common.fresh_names import fresh_name
from bnfold.frontends.onnx.constants import OnnxConstants
from bnfold.frontends.onnx.graph import OnnxNode, Scope
from bnfold.frontends.onnx.indexing import index_model
from bnfold.frontends.onnx.shapes import infer_shapes
from bnfold.frontends.onnx.storage import TensorStore
from bnfold.intake.tensor_names import rename_tensors, tensor_names
from bnfold.intake.walk import bodies, node_lists
from bnfold.refusal import Refusal


def has_ifs(model: onnx.ModelProto) -> bool:
    """Whether there is any If, whatever its condition."""
    return any(_is_if(node) for nodes in node_lists(model) for node in nodes)


def has_fixed_ifs(model: onnx.ModelProto) -> bool:
    """Whether the file fixes the condition of an If outside of functions."""
    return has_ifs(model) and bool(_outermost(model))


def take_branches(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of the model in which branches that are always taken stand in the place of their Ifs.

    What only the conditions, and the branches that are never taken, have read goes as well.
    """
    taken = onnx.ModelProto()
    taken.CopyFrom(model)
    while has_ifs(taken) and (found := _outermost(taken)):
        for choice in reversed(found):  # what comes later in a graph is copied
            _take(taken, choice)
    return taken


@dataclass(frozen=True)
class _Choice:
    """An If, the graph that holds it, and the branch that is taken."""

    node: onnx.NodeProto
    graph: onnx.GraphProto
    branch: onnx.GraphProto


def _is_if(node: onnx.NodeProto) -> bool:
    return node.op_type == "If" and node.domain in ("", "ai.onnx")


def _outermost(model: onnx.ModelProto) -> list[_Choice]:
    """Ifs of the main graph and of bodies whose condition is known, but those within others of them."""
    try:
        index = index_model(model)
    except ModelFormatError:
        return []
    infer_shapes(index)
    constants = OnnxConstants(TensorStore(None), keep_overridable=True)
    found: list[_Choice] = []
    within: set[int] = set()
    for scope in index.scopes:
        if id(scope.parent) in within:
            within.add(id(scope))
            continue
        if scope.is_function or not isinstance(scope.proto, onnx.GraphProto):
            continue
        for node in scope.nodes:
            branch = _branch(node, constants) if node.is_standard and _is_if(node.proto) else None
            if branch is not None:
                found.append(_Choice(node.proto, scope.proto, branch))
                within |= {id(inner) for inner in index.scopes if _is_body_of(inner, node.proto)}
    return found


def _is_body_of(scope: Scope, node: onnx.NodeProto) -> bool:
    return any(scope.proto is body for body in bodies(node))


def _branch(node: OnnxNode, constants: OnnxConstants) -> onnx.GraphProto | None:
    """The branch that an If takes, where the file fixes that."""
    condition = node.inputs[0] if node.inputs else None
    try:
        value = None if condition is None else constants.read(condition)
    except ModelFormatError:
        return None
    if value is None or isinstance(value, Refusal) or value.size != 1:
        return None
    wanted = "then_branch" if bool(value.reshape(-1)[0]) else "else_branch"
    return next((entry.g for entry in node.proto.attribute if entry.name == wanted and entry.HasField("g")), None)


def _take(model: onnx.ModelProto, choice: _Choice) -> None:
    node, graph, branch = choice.node, choice.graph, onnx.GraphProto()
    branch.CopyFrom(choice.branch)
    read_by_if = {*node.input, *(name for body in bodies(node) for name in tensor_names(body))}
    place = next(place for place, other in enumerate(graph.node) if other is node)
    behind, outputs = list(graph.node)[place + 1 :], list(node.output)
    taken = _names_outside(model, node)
    rename_tensors(branch, _new_names(branch, outputs, taken))
    for name, entry in zip(outputs, branch.output, strict=False):
        if name and entry.name != name:
            branch.node.append(onnx.helper.make_node("Identity", [entry.name], [name], name=f"{name}_taken"))
    copies = [onnx.NodeProto() for _ in behind]
    for copy, other in zip(copies, behind, strict=True):
        copy.CopyFrom(other)
    del graph.node[place:]
    graph.node.extend(branch.node)
    graph.node.extend(copies)
    graph.initializer.extend(branch.initializer)
    graph.sparse_initializer.extend(branch.sparse_initializer)
    graph.quantization_annotation.extend(branch.quantization_annotation)
    known = {entry.name for entry in (*graph.value_info, *graph.output)}
    graph.value_info.extend(entry for entry in branch.value_info if entry.name not in known)
    _drop_unread(graph, read_by_if)


def _names_outside(model: onnx.ModelProto, node: onnx.NodeProto) -> set[str]:
    """Names of tensors that a branch's own may not have."""
    inside = Counter(name for body in bodies(node) for name in tensor_names(body))
    everywhere = Counter(tensor_names(model.graph))
    return {name for name, count in everywhere.items() if count > inside[name]}


def _new_names(branch: onnx.GraphProto, outputs: Collection[str], taken: set[str]) -> dict[str, str]:
    """The names of a branch's own tensors in the graph around it: what it makes has that of the If's output."""
    made = [name for node in branch.node for name in node.output if name]
    own = dict.fromkeys([entry.name for entry in branch.initializer] + made)
    names: dict[str, str] = {}
    for name, entry in zip(outputs, branch.output, strict=False):
        if name and entry.name in own:
            names.setdefault(entry.name, name)
    return names | {name: fresh_name(name, taken) for name in own if name not in names and name in taken}


def _drop_unread(graph: onnx.GraphProto, candidates: Collection[str]) -> None:
    """Take away constants and nodes that nobody reads any more, from these tensors on upwards."""
    reads = Counter(name for node in graph.node for name in _read_by(node))
    reads.update(entry.name for entry in graph.output)
    producers = {name: node for node in graph.node for name in node.output if name}
    gone: set[int] = set()
    unread: set[str] = set()
    waiting = list(candidates)
    while waiting:
        name = waiting.pop()
        if reads[name] > 0:
            continue
        unread.add(name)
        node = producers.get(name)
        if node is not None and id(node) not in gone and not any(reads[other] for other in node.output if other):
            gone.add(id(node))
            reads.subtract(_read_by(node))
            waiting += _read_by(node)
    for place in reversed([place for place, node in enumerate(graph.node) if id(node) in gone]):
        del graph.node[place]
    given = {entry.name for entry in graph.input}
    lost = [place for place, entry in enumerate(graph.initializer) if entry.name in unread - given]
    for place in reversed(lost):
        del graph.initializer[place]


def _read_by(node: onnx.NodeProto) -> Iterator[str]:
    yield from filter(None, node.input)
    for body in bodies(node):
        yield from filter(None, tensor_names(body))
