"""A program of PyTorch as an ONNX model. BatchNorms stay what they are: whoever calls this has folded them."""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import onnx
import torch
from torch.export import ExportedProgram

from bnfold.errors import UnsupportedModelError, first_line
from bnfold.frontends.torchscript.file import duplicate
from bnfold.silence import nothing_printed

# Understood by onnxruntime from 1.14 on, and the newest that torch's exporter for TorchScript writes in full.
_OPSET_OF_SCRIPTS = 17


def export_to_onnx(program: Any, arguments: Sequence[Any]) -> onnx.ModelProto:  # noqa: ANN401 - one of two classes
    """Export a program; dynamic shapes of an ExportedProgram stay dynamic, a ScriptModule gets those of the arguments.

    The exporter may tidy up, but for BatchNorms, which it would fold in float32.

    Args:
        program: a torch.export.ExportedProgram or a torch.jit.ScriptModule.
        arguments: flat, that a ScriptModule runs on.

    Raises:
        UnsupportedModelError: torch cannot export it.
    """
    return _export(program, arguments, tidy=True)


def export_as_written(program: Any, arguments: Sequence[Any]) -> onnx.ModelProto:  # noqa: ANN401 - one of two classes
    """Export a program operator by operator, as a reference to compare with.

    Args and Raises: as `export_to_onnx`.
    """
    return _export(program, arguments, tidy=False)


def _export(program: Any, arguments: Sequence[Any], *, tidy: bool) -> onnx.ModelProto:  # noqa: ANN401
    try:
        with _quiet():
            if isinstance(program, ExportedProgram):
                return _with_named_outputs(_export_program(program, tidy=tidy))
            return _with_named_outputs(_export_script(program, arguments))
    except Exception as error:  # the exporters raise whatever they meet
        why = first_line(error)[:200]
        raise UnsupportedModelError(f"torch {torch.__version__} cannot export it to ONNX: {why}") from error


def _export_program(program: ExportedProgram, *, tidy: bool) -> onnx.ModelProto:
    exported = torch.onnx.export(program, dynamo=True, verbose=False, optimize=tidy)
    if exported is None:
        raise UnsupportedModelError("torch returned no ONNX model")
    proto: onnx.ModelProto = exported.model_proto
    return proto


def _export_script(module: torch.jit.ScriptModule, arguments: Sequence[Any]) -> onnx.ModelProto:
    names = [argument.name for argument in module._c._get_method("forward").schema.arguments[1:]]
    buffer: Any = io.BytesIO()
    # The exporter inlines calls in place, also in other modules of the process that share a class with this one.
    copy = duplicate(module)
    torch.onnx.export(
        copy,
        tuple(arguments),
        buffer,
        dynamo=False,
        opset_version=_OPSET_OF_SCRIPTS,
        input_names=names,
        training=torch.onnx.TrainingMode.PRESERVE,  # or it would fold BatchNorms itself
    )
    return onnx.load_model_from_string(buffer.getvalue())


def _with_named_outputs(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same model with outputs called "output", or "output_0" and so on: exporters call them by what makes them."""
    graph = model.graph
    taken = {name for node in graph.node for name in (*node.input, *node.output)}
    taken |= {entry.name for entry in (*graph.input, *graph.initializer)}
    for place, entry in enumerate(graph.output):
        wanted = "output" if len(graph.output) == 1 else f"output_{place}"
        if wanted in taken:
            continue
        # An Identity would do as well, but cost a node; a body that captures the tensor keeps it under its old name.
        captured = any(attribute.HasField("g") for node in graph.node for attribute in node.attribute)
        if captured or not any(entry.name in node.output for node in graph.node):
            graph.node.add(op_type="Identity", input=[entry.name], output=[wanted], name=f"{wanted}_name")
        else:
            for node in graph.node:
                node.input[:] = [wanted if name == entry.name else name for name in node.input]
                node.output[:] = [wanted if name == entry.name else name for name in node.output]
        entry.name = wanted
        taken.add(wanted)
    return model


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without what the exporters say of themselves, on the warnings, on the logs and on stdout."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), nothing_printed():
            warnings.filterwarnings("ignore", module=r"(torch|onnxscript|copyreg)(\.|$)")
            warnings.filterwarnings("ignore", category=DeprecationWarning)
            yield
    finally:
        logger.setLevel(level)
