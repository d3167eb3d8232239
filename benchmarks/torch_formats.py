"""The same networks traced, scripted, exported and as ONNX: how many BatchNorms fold in each, side by side.

    python benchmarks/torch_formats.py                 small networks, one per operator, and that of the digits example
    python benchmarks/torch_formats.py --zoo           architectures of timm and torchvision as well
    python benchmarks/torch_formats.py NAME [NAME ...] these only; "timm/NAME" and "tv/NAME" are any architecture

Each cell says folded/found. The two last columns say how many torch itself takes away of those in the traced module:
torch.jit.freeze, and torch.jit.optimize_for_inference behind it.

Two of the small networks do not fold alike, and why: torch's ONNX exporter spells GroupNorm with reshapes and chunk
with a computed length, which hides a BatchNorm in either. torch.jit.freeze folds "linear, other axis" on the
wrong axis.

timm and torchvision beside a CPU build of torch: pip install --no-deps timm torchvision, and pillow, pyyaml,
safetensors and huggingface_hub.
"""

import argparse
import io
import logging
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import onnx
import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).parent))
from torch_networks import SMALL, ZOO, architecture

import bnfold
from bnfold.api.formats.torchscript import ScriptFormat
from bnfold.api.options import FoldOptions
from bnfold.outcome import Outcome
from bnfold.verifier import VerifyOptions

COLUMNS = ("ONNX", "traced", "scripted", "exported")


def main() -> None:
    """Print one row per network as it is done."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--zoo", action="store_true")
    chosen = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    names = chosen.names or [*SMALL, *(ZOO if chosen.zoo else ())]
    print(
        f"{'network':32}" + "".join(f"{column:>11}" for column in (*COLUMNS, "freeze", "optimize")) + f"{'seconds':>10}"
    )
    unequal = []
    for name in names:
        started = time.perf_counter()
        module, sample = SMALL[name]() if name in SMALL else architecture(name)
        cells = row(randomised(module), sample)
        if len(set(cells[: len(COLUMNS)])) > 1:
            unequal.append(name)
        print(
            f"{name:32}" + "".join(f"{cell:>11}" for cell in cells) + f"{time.perf_counter() - started:10.1f}",
            flush=True,
        )
    print(f"{len(names) - len(unequal)} of {len(names)} networks fold alike in every format")
    for name in unequal:
        print(f"  not alike: {name}")


def row(module: nn.Module, sample: torch.Tensor) -> list[str]:
    """All cells of one network."""
    ways: tuple[Callable[[nn.Module, torch.Tensor], str], ...] = (
        as_onnx,
        traced,
        scripted,
        exported,
        frozen,
        optimized,
    )
    return [attempted(way, module, sample) for way in ways]


def attempted(way: Callable[[nn.Module, torch.Tensor], str], module: nn.Module, sample: torch.Tensor) -> str:
    """A cell, or the name of what torch or bnfold raised."""
    try:
        with torch.no_grad():
            return way(module, sample)
    except Exception as error:  # the table says so and goes on
        print(f"  {way.__name__}: {type(error).__name__}: {' '.join(str(error).split())[:200]}", file=sys.stderr)
        return type(error).__name__[:10]


def as_onnx(module: nn.Module, sample: torch.Tensor) -> str:
    """By torch's own exporter, BatchNorms as they are."""
    buffer = io.BytesIO()
    preserve = torch.onnx.TrainingMode.PRESERVE
    torch.onnx.export(module, (sample,), buffer, dynamo=False, opset_version=17, training=preserve)
    model = onnx.load_model_from_string(buffer.getvalue())
    return said(bnfold.fold(model, verify=None).report.outcome)


def traced(module: nn.Module, sample: torch.Tensor) -> str:
    """By torch.jit.trace."""
    return said_of_script(torch.jit.trace(module, sample, check_trace=False), sample)


def scripted(module: nn.Module, sample: torch.Tensor) -> str:
    """By torch.jit.script."""
    return said_of_script(torch.jit.script(module), sample)


def exported(module: nn.Module, sample: torch.Tensor) -> str:
    """By torch.export.export."""
    return said(bnfold.fold(torch.export.export(module, (sample,)), verify=None).report.outcome)


def frozen(module: nn.Module, sample: torch.Tensor) -> str:
    """What torch.jit.freeze takes away."""
    script = torch.jit.trace(module, sample, check_trace=False)
    found = batch_norms(script)
    return f"{found - batch_norms(torch.jit.freeze(script))}/{found}"


def optimized(module: nn.Module, sample: torch.Tensor) -> str:
    """What torch.jit.optimize_for_inference takes away."""
    script = torch.jit.trace(module, sample, check_trace=False)
    found = batch_norms(script)
    return f"{found - batch_norms(torch.jit.optimize_for_inference(script))}/{found}"


def said_of_script(script: torch.jit.ScriptModule, sample: torch.Tensor) -> str:
    """What bnfold folds of a module."""
    name = script._c._get_method("forward").schema.arguments[1].name
    options = FoldOptions(verify=VerifyOptions(shapes={name: tuple(sample.shape)}))
    return said(ScriptFormat().fold(script, options).outcome)


def said(outcome: Outcome) -> str:
    """BatchNorms folded of those found."""
    folded = sum(entry.is_batch_norm for entry in outcome.folds)
    return f"{folded}/{folded + sum(entry.is_batch_norm for entry in outcome.kept)}"


def batch_norms(script: torch.jit.ScriptModule) -> int:
    """How many a module runs."""
    return len(list(script.inlined_graph.findAllNodes("aten::batch_norm")))


def randomised(module: nn.Module) -> nn.Module:
    """Wide statistics, a zero and a negative scale included, in evaluation mode."""
    generator = torch.Generator().manual_seed(0)
    for norm in module.modules():
        if not isinstance(norm, nn.modules.batchnorm._BatchNorm) or norm.running_mean is None:
            continue
        shape = norm.running_mean.shape
        norm.running_mean.copy_(0.1 * torch.randn(shape, generator=generator))
        norm.running_var.copy_(torch.rand(shape, generator=generator) + 0.5)
        if norm.affine:
            with torch.no_grad():
                norm.weight.copy_(1 + 0.2 * torch.randn(shape, generator=generator))
                norm.weight[0], norm.weight[1] = 0, -norm.weight[1]
                norm.bias.copy_(0.1 * torch.randn(shape, generator=generator))
    return module.eval()


if __name__ == "__main__":
    main()
