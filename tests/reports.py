"""Hand-made reports for tests of what prints them."""

from dataclasses import replace

from bnfold.int8 import WeightRange
from bnfold.label import Label
from bnfold.outcome import Apart, Fold, Kept, Merge, Outcome, Quantization
from bnfold.refusal import Reason, Refusal
from bnfold.report.model import Change, Seconds
from bnfold.report.readable import Report
from bnfold.timings import Latency, Spread
from bnfold.verification import OutputCheck, Verification

PASSED = Verification(
    "passed", 3, 7, (OutputCheck("logits", 1.19e-7, 3.4e-6, True), OutputCheck("mask", 0.0, 0.0, True))
)
FAILED = Verification(
    "failed", 3, 7, (OutputCheck("logits", float("nan"), float("inf"), False, "shape (1, 3) against (3,)"),)
)


def fold(node="bn1", op="BatchNormalization", direction="upstream", into=("conv1",), through=(), amplification=1.7):
    return Fold(node, op, op == "BatchNormalization", f"{node}_out", direction, into, through, amplification)


def refusal(reason=Reason.NEEDS_NON_NEGATIVE_SCALE, evidence="scale < 0 in 3 of 64 channels", path=(), hint=""):
    return Refusal(reason, evidence, path, hint)


QUANTIZATION = Quantization(
    Label("conv_3x3", "Conv"), WeightRange((0.2, 1.5), 0, 38.4, 44.6), WeightRange((0.4, 2.0), 0, 27.9, 33.5)
)


def merge(node="add", into="conv_3x3", branches=3, quantization=QUANTIZATION):
    return Merge(
        Label(node, "Add"),
        Label(into, "Conv"),
        (Label("conv_1x1", "Conv"), Label(node, "Add")),
        f"{node}_out",
        branches,
        multiply_adds=Change(1152, 1024),
        parameters=Change(1152, 1024),
        operators=Change(3, 1),
        quantization=quantization,
    )


LATENCIES = (
    Latency(
        "onnxruntime",
        "all",
        "CPUExecutionProvider",
        1,
        runs=200,
        original=Spread(3.0e-3, 3.08e-3, 3.2e-3),
        folded=Spread(1.7e-3, 1.75e-3, 1.8e-3),
        speedup=Spread(1.7, 1.76, 1.81),
    ),
    Latency("torch", "CUDA graph", "cuda", 0, problem="no such <operator>"),
)


def apart(node="add_2"):
    because = refusal(Reason.BRANCHES_DIFFER, "branches differ in stride: 1 and 2", ("conv_a", "conv_b"))
    return Apart(Label(node, "Add"), (because,))


def kept(node="bn3", *refusals, op="BatchNormalization"):
    return Kept(node, op, op == "BatchNormalization", refusals or (refusal(path=(node, "pool2")),))


def report(folds=(), stays=(), merges=(), branches=(), lowered=(), **changes):
    made = Report(
        input="net.onnx",
        output="net.folded.onnx",
        format="onnx",
        outcome=Outcome(
            tuple(folds), tuple(stays), merges=tuple(merges), apart=tuple(branches), lowered=tuple(lowered)
        ),
        nodes=Change(910, 668),
        parameters=Change(8_062_504, 8_020_000),
        bytes=Change(32_600_000, 32_600_000),
        verification=PASSED,
        seconds=Seconds(load=0.2, plan=0.1, apply=0.001, verify=1.0, save=0.119),
    )
    return replace(made, **changes)


FULL = report(
    folds=[
        fold("bn1", into=(Label("conv1", "Conv"),), through=(Label("flatten_3", "Flatten"),)),
        fold("mul", op="Mul"),
    ],
    stays=[
        kept(
            "bn3",
            refusal(path=("bn3", "pool2"), hint="move the BatchNorm before the pooling to fold it"),
            refusal(Reason.GRAPH_OUTPUT, "'y' is an output of the graph", ("bn3",)),
        ),
        kept("scale", refusal(Reason.NOT_LINEAR, "Softmax", ("scale", "soft")), op="Mul"),
    ],
)
