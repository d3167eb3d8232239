"""Puts what was rewired into the protobuf: only entries that changed are touched."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, MutableSequence
from typing import Any

import onnx
import onnx.helper
import onnx.numpy_helper

from bnfold.frontends.common.parameters import NewParameter
from bnfold.frontends.onnx.annotations import drop_quantization, drop_training, fit_devices
from bnfold.frontends.onnx.graph import OnnxValue, Scope
from bnfold.frontends.onnx.large_weights import LargeWeights
from bnfold.frontends.onnx.overridable import LAST_IR_WITH_INITIALIZERS_AS_INPUTS
from bnfold.frontends.onnx.rewiring import Rewiring
from bnfold.intake.tensors import is_external


def write(graph: Rewiring, weights: LargeWeights | None = None) -> list[onnx.TensorProto]:
    """Carry the changes over into the model.

    Args:
        graph: what was changed.
        weights: take large weights of the main graph; None where the protobuf takes them all.

    Returns:
        The rewritten tensors that lay in an external file before and hold their data themselves now.
    """
    moved_inside: list[onnx.TensorProto] = []
    stored_in, removed_in, renamed_in, reshaped_in = (
        _by_scope(values) for values in (graph.stored_anew, graph.removed_values, graph.renamed, graph.reshaped)
    )
    for scope in graph.index.scopes:
        stored, gone, renamed = stored_in[id(scope)], removed_in[id(scope)], renamed_in[id(scope)]
        removed = {value.name for value in gone}
        _write_names(scope, {graph.renamed[value]: value.name for value in renamed})
        _write_nodes(graph, scope)
        for value in stored:
            parameter = graph.constants.changed[value]
            if _holds_initializers(graph, scope):
                outside = weights if scope is graph.index.main else None
                moved_inside += _write_initializer(scope, value, parameter, outside)
            else:
                scope.proto.node.insert(0, _constant_node(value, parameter))
        undescribed = {value.name for value in (*stored, *reshaped_in[id(scope)])}
        _drop_entries(scope.proto.value_info, removed | undescribed)
        if isinstance(scope.proto, onnx.GraphProto):
            _drop_entries(scope.proto.initializer, removed)
            _write_inputs(graph, scope, stored, removed)
            changed = {graph.renamed.get(value, value.name) for value in (*gone, *stored, *renamed)}
            drop_quantization(scope.proto, changed)
            if scope is graph.index.main:
                drop_training(graph.index.model, changed)
    return moved_inside


def _by_scope(values: Iterable[OnnxValue]) -> defaultdict[int, list[OnnxValue]]:
    """The tensors of each scope, by its id."""
    found: defaultdict[int, list[OnnxValue]] = defaultdict(list)
    for value in values:
        found[id(value.scope)].append(value)
    return found


def _write_names(scope: Scope, names: Mapping[str, str]) -> None:
    """Let the entries that describe tensors follow their new names."""
    proto = scope.proto
    described = [*proto.value_info]
    if isinstance(proto, onnx.GraphProto):
        described += [*proto.input, *proto.output]
    for entry in described:
        entry.name = names.get(entry.name, entry.name)


def _write_nodes(graph: Rewiring, scope: Scope) -> None:
    for position in reversed(range(len(scope.nodes))):
        node = scope.nodes[position]
        for added in reversed(graph.added_nodes.get(node, [])):
            if added not in graph.removed_nodes:
                scope.proto.node.insert(position + 1, added.proto)
        if node in graph.removed_nodes:
            del scope.proto.node[position]
        elif node.proto.device_configurations:
            fit_devices(node.proto)


def _holds_initializers(graph: Rewiring, scope: Scope) -> bool:
    if not isinstance(scope.proto, onnx.GraphProto):
        return False
    return scope.parent is None or graph.index.model.ir_version > LAST_IR_WITH_INITIALIZERS_AS_INPUTS


def _write_initializer(
    scope: Scope, value: OnnxValue, parameter: NewParameter, weights: LargeWeights | None
) -> list[onnx.TensorProto]:
    old = value.initializer
    new = None if weights is None else weights.hold(parameter.stored, value.name)
    new = new or onnx.numpy_helper.from_array(parameter.rounded, value.name)
    if old is None:
        scope.proto.initializer.append(new)
        return []
    was_external = is_external(old)
    new.doc_string = old.doc_string
    new.metadata_props.extend(old.metadata_props)
    old.CopyFrom(new)
    return [old] if was_external else []


def _constant_node(value: OnnxValue, parameter: NewParameter) -> onnx.NodeProto:
    tensor = onnx.numpy_helper.from_array(parameter.rounded, value.name)
    return onnx.helper.make_node("Constant", [], [value.name], value=tensor)


def _write_inputs(graph: Rewiring, scope: Scope, stored: list[OnnxValue], removed: set[str]) -> None:
    """A folded parameter cannot be overridden any more: the caller's values would be those before the fold."""
    if scope.parent is not None:
        return
    if graph.index.model.ir_version > LAST_IR_WITH_INITIALIZERS_AS_INPUTS:
        frozen = {value.name for value in (*stored, *graph.frozen) if value.scope is scope}
        _drop_entries(scope.proto.input, removed | frozen)
        return
    _drop_entries(scope.proto.input, removed)
    entries = {entry.name: entry for entry in scope.proto.input}
    for value in stored:
        parameter = graph.constants.changed[value]
        element_type = onnx.helper.np_dtype_to_tensor_dtype(parameter.stored.dtype)
        entry = entries.get(value.name)
        described = onnx.helper.make_tensor_type_proto(element_type, parameter.stored.shape)
        if entry is None:
            scope.proto.input.add(name=value.name).type.CopyFrom(described)
        else:
            entry.type.CopyFrom(described)


def _drop_entries(entries: MutableSequence[Any], names: Iterable[str]) -> None:
    doomed = set(names)
    for position in reversed(range(len(entries))):
        if entries[position].name in doomed:
            del entries[position]
