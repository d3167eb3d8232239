"""Metadata of tensors beside the graph: quantisation annotations, training steps and device configurations.

Entries of tensors that are gone, or that hold other numbers, are dropped.
"""

from collections.abc import Callable, Iterator, MutableSequence, Set
from typing import Any

import onnx

from bnfold.frontends.onnx.graph import subgraphs


def drop_quantization(graph: onnx.GraphProto, changed: Set[str]) -> None:
    """Drop what is said of the quantisation of tensors that are gone or hold other numbers, or by means of them.

    Args:
        graph: the graph.
        changed: names, in the file, of its tensors that are gone, or hold other numbers.
    """

    def is_stale(entry: onnx.TensorAnnotation) -> bool:
        named = {entry.tensor_name, *(parameter.value for parameter in entry.quant_parameter_tensor_names)}
        return bool(named & changed)

    _drop(graph.quantization_annotation, is_stale)


def drop_training(model: onnx.ModelProto, changed: Set[str]) -> None:
    """Drop training steps that read or write tensors of the main graph that are gone or hold other numbers.

    Args:
        model: the model.
        changed: as for `drop_quantization`, of the main graph.
    """
    _drop(model.training_info, lambda entry: not changed.isdisjoint(_named_by(entry)))


def fit_devices(node: onnx.NodeProto) -> None:
    """Drop what is said of how tensors are split over devices that the node does not have any more."""
    present = {*node.input, *node.output}
    for configuration in node.device_configurations:
        _drop(configuration.sharding_spec, lambda entry: entry.tensor_name not in present)


def _named_by(training: onnx.TrainingInfoProto) -> Iterator[str]:
    for binding in (*training.initialization_binding, *training.update_binding):
        yield binding.key
    for graph in (training.initialization, training.algorithm):
        yield from _read_by(graph)


def _read_by(graph: onnx.GraphProto) -> Iterator[str]:
    waiting = [graph]
    while waiting:
        for node in waiting.pop().node:
            yield from node.input
            waiting += [body for _, body in subgraphs(node)]


def _drop(entries: MutableSequence[Any], is_stale: Callable[[Any], bool]) -> None:
    for position in reversed(range(len(entries))):
        if is_stale(entries[position]):
            del entries[position]
