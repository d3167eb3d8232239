"""The digits example, quantised in the ways that onnxruntime knows and as quantisation-aware training exports it,
BatchNorms and all: what folds, and what becomes of the accuracy.

Each model is quantised with its BatchNorms in it, as one finds such files, folded, and both are run over the held-out
images with onnxruntime's own optimisations off. Prints the table of docs/quantisation.md.

Usage: python -m benchmarks.quantised_digits
"""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
from onnxruntime.quantization import QuantFormat, quantize_dynamic, quantize_static

import bnfold
from benchmarks.calibration import Samples, quietly
from bnfold.report.readable import Report
from examples.check_digits import HELD_OUT, HERE, INPUT_NAME, accuracy, count_classified_differently, run_unoptimized

MODEL = HERE / "digits_cnn.onnx"
LINEAR = ["Conv", "ConvTranspose", "Gemm"]
CALIBRATED_ON = 64
QUANTIZERS = ("QuantizeLinear", "DynamicQuantizeLinear")


@dataclass(frozen=True)
class Way:
    """A way to quantise.

    Attributes:
        called: what it is.
        options: of quantize_static; None for quantize_dynamic.
        stay: how many BatchNorms have a quantizer between them and the operator in front.
    """

    called: str
    options: Mapping[str, Any] | None
    stay: int = 0


@dataclass(frozen=True)
class Result:
    """What became of the model in one way.

    Attributes:
        report: of the fold.
        before, after: accuracy on the held-out images.
        moved: how many images are classified differently.
        integers: how many integers the quantizers of the graph make.
        other_integers: how many of them are others in the folded model.
        furthest: by how many steps at most.
    """

    report: Report
    before: float
    after: float
    moved: int
    integers: int
    other_integers: int
    furthest: int


# Quantizers in front of the linear operators alone, as hardware has them that adds and normalises in float or int32.
_IN_FRONT = {"op_types_to_quantize": LINEAR, "extra_options": {"OpTypesToExcludeOutputQuantization": LINEAR}}
_TRAINED = {**_IN_FRONT, "extra_options": {"OpTypesToExcludeOutputQuantization": LINEAR, "AddQDQPairToWeight": True}}

WAYS = (
    Way("static, QDQ, a scale per tensor, quantizers in front of operators", _IN_FRONT),
    Way("static, QDQ, a scale per channel, quantizers in front of operators", {"per_channel": True, **_IN_FRONT}),
    Way("static, QDQ, a scale per tensor, quantizers on both sides", {}, stay=4),
    Way("static, QDQ, a scale per channel, quantizers on both sides", {"per_channel": True}, stay=4),
    Way(
        "static, QOperator", {"quant_format": QuantFormat.QOperator}, stay=3
    ),  # of ConvTranspose it has no integer form
    Way("dynamic", None),
    Way("as quantisation-aware training exports: float weight, Q, DQ", _TRAINED),
    Way("the same, a scale per channel", {"per_channel": True, **_TRAINED}),
)


def held_out() -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Images (450, 1, 8, 8) in [0, 1], and labels."""
    arrays = np.load(HELD_OUT)
    return arrays[INPUT_NAME], arrays["labels"]


def quantise(way: Way, target: Path) -> onnx.ModelProto:
    """The example with its BatchNorms, quantised.

    Args:
        way: how.
        target: a file for onnxruntime to write.
    """
    images, _ = held_out()
    with quietly():
        if way.options is None:
            quantize_dynamic(MODEL, target, op_types_to_quantize=LINEAR)
        else:
            samples = Samples([{INPUT_NAME: images[:CALIBRATED_ON]}])
            quantize_static(MODEL, target, samples, **way.options)
    return onnx.load(target)


def compare(way: Way, target: Path) -> Result:
    """Quantise in one way, fold, and run both on all images."""
    model = quantise(way, target)
    folded = bnfold.fold(model)
    images, labels = held_out()
    before, *old = run_with_integers(model, images)
    after, *new = run_with_integers(folded.model, images)
    steps = [np.abs(one.astype(int) - other.astype(int)) for one, other in zip(old, new, strict=True)]
    return Result(
        folded.report,
        accuracy(before, labels),
        accuracy(after, labels),
        count_classified_differently(before, after),
        sum(step.size for step in steps),
        sum(int(np.count_nonzero(step)) for step in steps),
        max(int(step.max()) for step in steps),
    )


def run_with_integers(model: onnx.ModelProto, images: npt.NDArray[np.float32]) -> list[npt.NDArray[Any]]:
    """The logits, and what every quantizer of the graph makes, in its order; onnxruntime's optimisations are off."""
    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    for node in model.graph.node:
        if node.op_type in QUANTIZERS:
            watched.graph.output.add(name=node.output[0])
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(watched.SerializeToString(), options, providers=["CPUExecutionProvider"])
    outputs: list[npt.NDArray[Any]] = session.run(None, {INPUT_NAME: images})
    return outputs


def main() -> None:
    images, labels = held_out()
    of_float = accuracy(run_unoptimized(MODEL.read_bytes(), images), labels)
    print(f"In float: {of_float:.2%} of {len(labels)} images.\n")
    print("| quantised | BatchNorms | accuracy | classified differently | other integers | what keeps the rest |")
    print("|---|--:|--:|--:|--:|---|")
    with tempfile.TemporaryDirectory() as folder:
        for way in WAYS:
            result = compare(way, Path(folder, "quantised.onnx"))
            tally = result.report.batch_norms
            codes = {entry.refusals[0].reason.code for entry in result.report.outcome.kept if entry.is_batch_norm}
            why = ", ".join(sorted(codes))
            print(
                f"| {way.called} | {tally.found} -> {tally.kept} | {result.before:.2%} -> {result.after:.2%} "
                f"| {result.moved} | {result.other_integers} of {result.integers:,} | {why} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
