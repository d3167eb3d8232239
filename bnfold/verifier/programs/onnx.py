"""Programs of torch as ONNX models, BatchNorms and constants as they are, for a second opinion under onnxruntime."""

import contextlib
import io
import logging
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import onnx

from bnfold.errors import UncheckedError
from bnfold.intake.walk import bodies
from bnfold.silence import nothing_printed

if TYPE_CHECKING:
    import torch

_OPSET = 17
_DEPRECATION = (DeprecationWarning, FutureWarning)  # of torch up to 2.13, and of newer ones
_SILENCED = (
    (_DEPRECATION, "You are using the legacy TorchScript-based ONNX export. Starting in PyTorch 2.9, "),
    (_DEPRECATION, "The feature will be removed. Please remove usage of this function"),
    (_DEPRECATION, "`torch.jit.save` is deprecated. Please switch to `torch.export`."),
    (_DEPRECATION, "`torch.jit.load` is deprecated. Please switch to `torch.export`."),
    ((UserWarning,), "no signature found for <torch.ScriptMethod object at 0x"),
    (
        (FutureWarning,),
        "`isinstance(treespec, LeafSpec)` is deprecated, use `isinstance(treespec, TreeSpec) and treespec.",
    ),
)


def export_onnx(model: object, names: Sequence[str], arguments: Sequence[Any]) -> onnx.ModelProto:
    """A program as an ONNX model of fixed shapes.

    Args:
        model: a ScriptModule or an ExportedProgram.
        names: of its tensor inputs, in their order.
        arguments: flat, with the shapes to export for.

    Raises:
        UncheckedError: torch cannot export it.
    """
    import torch

    try:
        with _quiet():
            if isinstance(model, torch.jit.ScriptModule):
                return _with_named_outputs(_export_script(model, names, arguments))
            return _with_named_outputs(_export_program(model))
    except Exception as error:  # the exporters raise whatever they meet
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise UncheckedError(f"torch cannot export it to ONNX: {(lines or [type(error).__name__])[0][:200]}") from error


def _with_named_outputs(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same model with outputs called by their place, in place: exporters call them by what makes them."""
    taken = {entry.name for entry in model.graph.input}
    names = {entry.name: f"result_{place}" for place, entry in enumerate(model.graph.output) if entry.name not in taken}
    _rename(model.graph, names)
    return model


def with_own_names(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same model with names of its own for all tensors inside, in place.

    An exporter names tensors by position: a name that two exports share says nothing about their values.
    """
    kept = {entry.name for entry in (*model.graph.input, *model.graph.output)}
    _rename(model.graph, {name: f"new/{name}" for name in _names(model.graph) if name not in kept})
    return model


def _names(graph: onnx.GraphProto) -> set[str]:
    """All names of tensors in a graph and its bodies."""
    names = {name for node in graph.node for name in (*node.input, *node.output) if name}
    names |= {entry.name for entry in (*graph.input, *graph.output, *graph.initializer)}
    return names.union(*(_names(body) for node in graph.node for body in bodies(node)))


def _rename(graph: onnx.GraphProto, names: Mapping[str, str]) -> None:
    del graph.value_info[:]
    for entry in (*graph.input, *graph.output, *graph.initializer):
        entry.name = names.get(entry.name, entry.name)
    for node in graph.node:
        for held in (node.input, node.output):
            held[:] = [names.get(name, name) for name in held]
        for body in bodies(node):
            _rename(body, names)


def _export_script(module: "torch.jit.ScriptModule", names: Sequence[str], arguments: Sequence[Any]) -> onnx.ModelProto:
    import torch

    buffer: Any = io.BytesIO()
    torch.onnx.export(
        _copy_of(module),
        tuple(arguments),
        buffer,
        dynamo=False,
        opset_version=_OPSET,
        training=torch.onnx.TrainingMode.PRESERVE,
        do_constant_folding=False,
        input_names=list(names),
    )
    return onnx.load_model_from_string(buffer.getvalue())


def _copy_of(module: "torch.jit.ScriptModule") -> "torch.jit.ScriptModule":
    """The same module with classes of its own.

    The exporter inlines calls in place: in the module, and in all others of the process that share a class with it.
    """
    import torch

    load: Any = torch.jit.load
    buffer = io.BytesIO()
    torch.jit.save(module, buffer)
    buffer.seek(0)
    copy: torch.jit.ScriptModule = load(buffer)
    return copy


def _export_program(program: Any) -> onnx.ModelProto:  # noqa: ANN401
    import torch

    exported = torch.onnx.export(program, dynamo=True, optimize=False, verbose=False)
    if exported is None:
        raise UncheckedError("torch returned no ONNX program")
    proto: onnx.ModelProto = exported.model_proto
    return proto


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporters' own sentences, on the warnings, on the logs and on stdout."""
    exporter = logging.getLogger("torch.onnx")
    level = exporter.level
    exporter.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), nothing_printed():
            for categories, sentence in _SILENCED:
                for category in categories:
                    warnings.filterwarnings("ignore", re.escape(sentence), category)
            yield
    finally:
        exporter.setLevel(level)
