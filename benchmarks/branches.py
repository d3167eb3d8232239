"""Networks that train with parallel branches, folded from their training form: `python -m benchmarks.branches`.

Each network is exported from its training form with random, wide statistics, by both of torch's exporters to ONNX, and
folded by bnfold. Beside it stands the form that its authors deploy: re-parameterised by their own method (timm's), or
built anew where a block has none, exported, and folded without merging. The table says how many BatchNorms are left,
operators, multiply-adds for one image, the largest difference of the outputs against the training form, and the latency
relative to the authors' form under onnxruntime at its default level: one thread, runs interleaved, ratio of medians of
the thread's processor time, which other load on the machine disturbs least.
Networks need timm. Tools that are installed (onnxslim, onnxsim) simplify the training form and are timed likewise.
"""

import argparse
import copy
import io
import logging
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from math import prod

import numpy as np
import onnx
import onnxruntime
import torch
from torch import nn

import bnfold
from tests.merging import blocks

NETWORKS = (
    "repvgg_a0",
    "repvgg_b0",
    "repvgg_b1g4",
    "mobileone_s0",
    "mobileone_s1",
    "mobileone_s4",
    "repvit_m1",
    "fastvit_t8",
    "repghostnet_050",
)
CHANNELS, LENGTH = 64, 56
BLOCKS: dict[str, tuple[Callable[[], nn.Module], Callable[[], nn.Module]]] = {
    "YOLOv6 RepVGG block": (
        lambda: blocks.RepVGG(CHANNELS, CHANNELS),
        lambda: nn.Sequential(nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1), nn.ReLU()),
    ),
    "YOLOv7 RepConv": (
        lambda: blocks.RepConv(CHANNELS, CHANNELS),
        lambda: nn.Sequential(nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1), nn.SiLU()),
    ),
    "DBB": (
        lambda: blocks.DiverseBranch(CHANNELS, CHANNELS),
        lambda: nn.Sequential(nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1), nn.ReLU()),
    ),
    "DBB, stride 2": (
        lambda: blocks.DiverseBranch(CHANNELS, CHANNELS, stride=2),
        lambda: nn.Sequential(nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1, stride=2), nn.ReLU()),
    ),
    "ACNet": (
        lambda: blocks.AsymmetricConv(CHANNELS, CHANNELS),
        lambda: nn.Sequential(nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1), nn.ReLU()),
    ),
    "SESR": (
        lambda: blocks.Collapsible(16, 256),
        lambda: nn.Sequential(nn.Conv2d(16, 16, 3, padding=1), nn.ReLU()),
    ),
}


@dataclass(frozen=True)
class Case:
    """A network in both forms, as ONNX."""

    name: str
    exporter: str
    training: onnx.ModelProto
    deployed: onnx.ModelProto


def main() -> int:
    """Print the table, and return 1 where a BatchNorm is left, or an operator more than in the authors' form."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("names", nargs="*", help="networks of timm, or 'blocks'; all without any")
    parser.add_argument("--exporter", choices=("torchscript", "dynamo"), action="append")
    parser.add_argument("--runs", type=int, default=30, help="timed runs of each form")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    torch.set_grad_enabled(False)
    print("| network | exporter | BatchNorms | operators | M multiply-adds | max difference | latency |", end="")
    tools = [tool for tool in ("onnxslim", "onnxsim") if find_spec(tool)]
    print("".join(f" {tool} |" for tool in tools) + " training form |")
    print("|---|---|---|---|---|---|---|" + "---|" * len(tools) + "---|")
    worse = False
    for case in _cases(arguments.names or [*NETWORKS, "blocks"], arguments.exporter or ["torchscript", "dynamo"]):
        worse |= _row(case, tools, arguments.runs)
    return int(worse)


def _cases(names: Sequence[str], exporters: Sequence[str]) -> Iterator[Case]:
    for name in names:
        for title, training, deployed, sample in _forms(name):
            for exporter in exporters:
                yield Case(title, exporter, _export(training, sample, exporter), _export(deployed, sample, exporter))


def _forms(name: str) -> Iterator[tuple[str, nn.Module, nn.Module, torch.Tensor]]:
    if name == "blocks":
        for title, (training, deployed) in BLOCKS.items():
            torch.manual_seed(0)
            channels = 16 if title == "SESR" else CHANNELS
            sample = torch.randn(1, channels, LENGTH, LENGTH)
            yield title, blocks.randomise(training()), deployed().eval(), sample
        return
    _declare_operators()
    import timm
    from timm.utils.model import reparameterize_model

    torch.manual_seed(0)
    model = blocks.randomise(timm.create_model(name))
    deployed = reparameterize_model(copy.deepcopy(model))
    yield name, model, deployed.eval(), torch.randn(1, *model.default_cfg["input_size"])


@cache
def _declare_operators() -> torch.library.Library:
    """Those that the import of torchvision asks for, which timm imports; its own are absent beside a torch for CPUs."""
    library = torch.library.Library("torchvision", "DEF")
    library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return library


def _export(model: nn.Module, sample: torch.Tensor, exporter: str) -> onnx.ModelProto:
    """Without the exporter's own folding, which a framework that writes training forms would not do either."""
    buffer = io.BytesIO()
    if exporter == "dynamo":
        program = torch.onnx.export(model, (sample,), dynamo=True, optimize=False, verbose=False)
        return program.model_proto
    torch.onnx.export(
        model,
        (sample,),
        buffer,
        dynamo=False,
        opset_version=17,
        do_constant_folding=False,
        training=torch.onnx.TrainingMode.PRESERVE,
    )
    return onnx.load_from_string(buffer.getvalue())


def _row(case: Case, tools: Sequence[str], runs: int) -> bool:
    """Print one line; whether it is worse than the authors' form."""
    result = bnfold.fold(case.training, verify=None)
    deployed = bnfold.fold(case.deployed, verify=None, merge_branches=False).model
    left, ours, theirs = result.report.batch_norms.kept, _operators(result.model), _operators(deployed)
    others = {tool: _simplified(case.training, tool) for tool in tools}
    models = [deployed, result.model, *others.values(), case.training]
    base, *times = _medians(models, runs)
    difference = _difference(case.training, result.model)
    ratios = " | ".join(f"{median / base:.2f}" for median in times)
    print(
        f"| {case.name} | {case.exporter} | {result.report.batch_norms.found} -> {left} "
        f"| {_operators(case.training)} -> {ours} (authors {theirs}) "
        f"| {_multiply_adds(case.training):.1f} -> {_multiply_adds(result.model):.1f} "
        f"(authors {_multiply_adds(deployed):.1f}) | {difference:.1e} | {ratios} |",
        flush=True,
    )
    return left > 0 or ours > theirs


def _operators(model: onnx.ModelProto) -> int:
    """All nodes but constants and copies, which runtimes remove."""
    return sum(node.op_type not in ("Constant", "Identity") for node in model.graph.node)


def _multiply_adds(model: onnx.ModelProto) -> float:
    """In millions, of Conv, Gemm and MatMul with a constant."""
    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
    shapes = {
        entry.name: [dim.dim_value for dim in entry.type.tensor_type.shape.dim]
        for entry in (*inferred.graph.value_info, *inferred.graph.input, *inferred.graph.output)
    }
    shapes |= {tensor.name: list(tensor.dims) for tensor in model.graph.initializer}
    constants = {tensor.name for tensor in model.graph.initializer}
    total = 0
    for node in model.graph.node:
        if node.op_type == "Conv":
            total += prod(shapes[node.output[0]]) * prod(shapes[node.input[1]][1:])
        elif node.op_type in ("Gemm", "MatMul") and node.input[1] in constants:
            total += prod(shapes[node.input[0]]) * shapes[node.output[0]][-1]
    return total / 1e6


def _simplified(model: onnx.ModelProto, tool: str) -> onnx.ModelProto:
    given = onnx.ModelProto()
    given.CopyFrom(model)
    if tool == "onnxslim":
        import onnxslim

        return onnxslim.slim(given)
    import onnxsim

    return onnxsim.simplify(given)[0]


def _session(model: onnx.ModelProto, *, plain: bool = False) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    if plain:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _feeds(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    (entry, *_) = model.graph.input
    shape = [dim.dim_value or 1 for dim in entry.type.tensor_type.shape.dim]
    return {entry.name: np.random.default_rng(0).normal(size=shape).astype(np.float32)}


def _difference(one: onnx.ModelProto, other: onnx.ModelProto) -> float:
    """The largest, relative to the largest number of the output."""
    found = [_session(model, plain=True).run(None, _feeds(model))[0] for model in (one, other)]
    return float(np.abs(found[0] - found[1]).max() / np.abs(found[0]).max())


def _medians(models: Sequence[onnx.ModelProto], runs: int) -> list[float]:
    """Seconds of processor time of one run of each model; every turn in another order, as caches remember the last."""
    sessions = [(_session(model), _feeds(model)) for model in models]
    times: list[list[float]] = [[] for _ in models]
    random = np.random.default_rng(0)
    for turn in range(runs + 3):
        for place in random.permutation(len(models)):
            session, feeds = sessions[place]
            start = time.thread_time()
            session.run(None, feeds)
            if turn >= 3:
                times[place].append(time.thread_time() - start)
    return [statistics.median(entries) for entries in times]


if __name__ == "__main__":
    sys.exit(main())
