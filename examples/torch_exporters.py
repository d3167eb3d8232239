"""One torch module as a checked ONNX model, by either exporter of torch: BatchNorms kept, no machine's path in it."""

import io
import re
import warnings
from collections import Counter

import numpy as np
import numpy.typing as npt
import onnx
import onnxscript  # noqa: F401 - both exporters of torch need it, and say so late
import torch
from check_digits import run_unoptimized
from torch import nn

OPSET = 20
BATCH_AXIS = 0
ROUNDING = 1e-4  # float32 rounds by 6e-8; a BatchNorm of small variance amplifies that some hundred times

STACK_TRACE = "pkg.torch.onnx.stack_trace"
SOURCE_LOCATION = re.compile(rb'File "|site-packages|\.py\b')

# What torch 2.13 says on each export, and of each batch_first LSTM. Anything else it says is worth reading.
KNOWN_WARNINGS = [
    (
        DeprecationWarning,
        (
            "You are using the legacy TorchScript-based ONNX export. Starting in PyTorch 2.9, the new "
            "torch.export-based ONNX exporter has become the default. Learn more about the new export logic: "
            "https://docs.pytorch.org/docs/stable/onnx_export.html. For exporting control flow: "
            "https://pytorch.org/tutorials/beginner/onnx/export_control_flow_model_to_onnx_tutorial.html"
        ),
    ),
    (DeprecationWarning, "The feature will be removed. Please remove usage of this function"),
    (
        FutureWarning,
        (
            "`isinstance(treespec, LeafSpec)` is deprecated, "
            "use `isinstance(treespec, TreeSpec) and treespec.is_leaf()` instead."
        ),
    ),
    (
        UserWarning,
        (
            "Exporting a model to ONNX with a batch_size other than 1, with a variable length with LSTM can cause an "
            "error when running the ONNX model with a different batch size. Make sure to save the model with a batch "
            "size of 1, or define the initial states (h0/c0) as inputs of the model. "
        ),
    ),
]


def export_with_torchscript(
    network: nn.Module, example: torch.Tensor, input_name: str, output_name: str
) -> onnx.ModelProto:
    """Exports `network`, in eval mode, with torch.onnx.export(dynamo=False).

    TrainingMode.PRESERVE and do_constant_folding=False keep the BatchNorms; the defaults fold those behind a Conv.

    Args:
        network: a module in eval mode, with one input and one output tensor.
        example: an input; its first axis becomes the dynamic axis "batch".
        input_name: the graph input's name.
        output_name: the graph output's name.

    Returns:
        A checked model, its weights embedded.
    """
    file = io.BytesIO()
    with warnings.catch_warnings():
        ignore_known_warnings()
        torch.onnx.export(
            network,
            (example,),
            file,  # type: ignore[arg-type]  # the TorchScript exporter takes a buffer, its annotation does not say so
            dynamo=False,
            training=torch.onnx.TrainingMode.PRESERVE,
            do_constant_folding=False,
            opset_version=OPSET,
            input_names=[input_name],
            output_names=[output_name],
            dynamic_axes={input_name: {BATCH_AXIS: "batch"}, output_name: {BATCH_AXIS: "batch"}},
        )
    return without_source_locations(onnx.load_from_string(file.getvalue()))


def export_with_dynamo(network: nn.Module, example: torch.Tensor, input_name: str, output_name: str) -> onnx.ModelProto:
    """Exports `network`, in eval mode, with torch.onnx.export(dynamo=True).

    optimize=False is what keeps the BatchNorms: the optimizer folds those behind a Conv, ConvTranspose or Gemm.

    Args:
        network: a module in eval mode, with one input and one output tensor.
        example: an input of at least two samples; its first axis becomes the dynamic axis "batch".
        input_name: the graph input's name.
        output_name: the graph output's name.

    Returns:
        A checked model, its weights embedded.
    """
    with warnings.catch_warnings():
        ignore_known_warnings()
        program = torch.onnx.export(
            network,
            (example,),
            dynamo=True,
            optimize=False,
            verbose=False,
            opset_version=OPSET,
            input_names=[input_name],
            output_names=[output_name],
            dynamic_shapes=({BATCH_AXIS: torch.export.Dim("batch")},),
        )
    assert program is not None
    return without_source_locations(program.model_proto)


def ignore_known_warnings() -> None:
    for category, text in KNOWN_WARNINGS:
        warnings.filterwarnings("ignore", message=re.escape(text) + r"\Z", category=category)


def without_source_locations(model: onnx.ModelProto) -> onnx.ModelProto:
    """Takes the stack traces, which name the exporting machine's files, off the nodes of `model` and checks it."""
    for node in model.graph.node:
        kept = [entry for entry in node.metadata_props if entry.key != STACK_TRACE]
        del node.metadata_props[:]
        node.metadata_props.extend(kept)
    described = describe_without_weights(model)
    if found := SOURCE_LOCATION.search(described):
        context = described[max(0, found.start() - 80) : found.end()]
        raise ValueError(f"the exported model names a source file: {context!r}; strip that field too")
    onnx.checker.check_model(model, full_check=True)
    return model


def describe_without_weights(model: onnx.ModelProto) -> bytes:
    """Returns `model` serialized without the values of its weights, in whose bytes any text may occur by chance."""
    described = onnx.ModelProto()
    described.CopyFrom(model)
    for initializer in described.graph.initializer:
        initializer.ClearField("raw_data")
    serialized: bytes = described.SerializeToString()
    return serialized


def batch_norms(network: nn.Module) -> list[nn.BatchNorm1d | nn.BatchNorm2d]:
    return [module for module in network.modules() if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d)]


def check_export(
    name: str, model: onnx.ModelProto, network: nn.Module, inputs: torch.Tensor
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Prints the nodes of `model` and how far onnxruntime's answers to `inputs` are from those of `network`.

    Returns:
        The outputs of torch and of onnxruntime.

    Raises:
        ValueError: the exporter lost a BatchNorm.
        AssertionError: an answer differs by more than ROUNDING times the largest one.
    """
    operators = Counter(node.op_type for node in model.graph.node)
    modules = len(batch_norms(network))
    if (nodes := operators["BatchNormalization"]) != modules:
        raise ValueError(f"{name}: {nodes} BatchNormalization nodes against {modules} BatchNorm modules")
    with torch.no_grad():
        expected = network(inputs).numpy()
    outputs = run_unoptimized(model.SerializeToString(), inputs.numpy())
    largest = np.abs(expected).max()
    np.testing.assert_allclose(outputs, expected, rtol=0, atol=ROUNDING * largest, err_msg=name, strict=True)
    print(f"{name}: {model.ByteSize()} bytes; {', '.join(f'{count} {op}' for op, count in operators.items())}")
    print(f"  largest difference from torch: {np.abs(outputs - expected).max():.2g} of {largest:.3g}")
    return expected, outputs
