"""What folding buys before quantisation: onnxruntime's quantize_static on a model after onnxruntime's own
pre-processing, against the same after bnfold.

For each model, in both ways: the BatchNorms that are left, how many operators onnxruntime runs on integers, how far the
int8 model is from the float original (signal to noise of all outputs together, on samples that it was not calibrated
on), and how much processor time one run takes on one thread, in turns. In QDQ format, weights are int8 and activations
uint8, because onnxruntime computes with these on x86; --int8-activations leaves them as quantize_static makes them by
itself. The float reference is the original as it is written, with onnxruntime's own optimisations off.

python -m benchmarks.quantisation MODEL.onnx ... [--per-channel] [--photographs] [--input NAME=FILE.npz]

Prints a table in Markdown. Samples are normal random numbers, where no file holds real ones and no photographs are
asked for. A model older than opset 13, which has no scale for each channel, is brought to that first.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx.version_converter
import onnxruntime as ort
from onnxruntime.quantization import QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

import bnfold
from benchmarks.calibration import Sample, Samples, crops, quietly, random_samples
from bnfold.latency.turns import spread, take_turns

CALIBRATED_ON, COMPARED_ON = 32, 16
SEED = 0
FIRST_WITH_AXIS = 13
COLUMNS = (
    "| model | BatchNorms left | operators on integers | SQNR, dB | processor, ms | times as fast |\n"
    "|---|--:|--:|--:|--:|--:|"
)


@dataclass(frozen=True)
class Quantised:
    """A model in int8.

    Attributes:
        path: of the file.
        batch_norms: how many it has.
        on_integers: how many operators compute with integers, after onnxruntime's optimisations.
        outputs: for the samples that are compared, one array each: all outputs, flat, one behind the other.
    """

    path: Path
    batch_norms: int
    on_integers: int
    outputs: Sequence[npt.NDArray[np.float64]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--per-channel", action="store_true", help="a scale for each output channel of a weight")
    parser.add_argument("--no-merge-branches", action="store_true", help="fold with this option")
    parser.add_argument("--exclude", action="append", default=[], metavar="NODE", help="fold with this option")
    parser.add_argument("--input", action="append", default=[], metavar="NAME=FILE", help=".npz with an array NAME")
    parser.add_argument("--int8-activations", action="store_true", help="as quantize_static makes them by itself")
    parser.add_argument("--photographs", action="store_true", help="crops of scikit-learn's two, from -1 to 1")
    parser.add_argument("--seconds", type=float, default=4.0, help="of timing, per model")
    given = parser.parse_args()
    real = {name: np.load(file)[name] for name, file in (entry.split("=", 1) for entry in given.input)}
    options = bnfold.FoldOptions(merge_branches=not given.no_merge_branches, exclude=tuple(given.exclude))
    activations = QuantType.QInt8 if given.int8_activations else QuantType.QUInt8
    how = {"per_channel": given.per_channel, "activation_type": activations}
    ort.set_default_logger_severity(3)
    print(COLUMNS, flush=True)
    for path in given.models:
        with tempfile.TemporaryDirectory() as folder:
            model = current(path, Path(folder))
            samples = samples_of(model, real, given.photographs)
            print(row(model, Path(folder), samples, options, how, given.seconds), flush=True)


def current(path: Path, folder: Path) -> Path:
    """The model at an opset whose quantizers have scales for each channel: itself, or one made of it."""
    model = onnx.load(path)
    if all(entry.version >= FIRST_WITH_AXIS for entry in model.opset_import if not entry.domain):
        return path
    converted = folder / path.name
    onnx.save(onnx.version_converter.convert_version(model, FIRST_WITH_AXIS), converted)
    return converted


def row(
    model: Path,
    folder: Path,
    samples: Sequence[Sample],
    options: bnfold.FoldOptions,
    how: Mapping[str, Any],
    seconds: float,
) -> str:
    """One line of the table."""
    expected = outputs_of(model, samples[CALIBRATED_ON:], optimised=False)
    folded = folder / "folded.onnx"
    report = bnfold.fold_file(model, folded, options)
    assert report.verification.passed
    without, after = (
        quantised(source, folder / f"{name}.int8.onnx", samples, how)
        for source, name in ((model, "without"), (folded, "after"))
    )
    ratios = [f"{sqnr(expected, entry.outputs):.2f}" for entry in (without, after)]
    turns = take_turns(runner(without.path, samples[0]), runner(after.path, samples[0]), seconds, time.process_time)
    times = [1e3 * spread(side).median for side in (turns.first, turns.second)]
    faster = spread(turns.ratios)
    return (
        f"| {model.stem} | {without.batch_norms} -> {after.batch_norms} | {without.on_integers} -> {after.on_integers} "
        f"| {' -> '.join(ratios)} | {times[0]:.3g} -> {times[1]:.3g} "
        f"| {faster.median:.2f} ({faster.low:.2f} to {faster.high:.2f}) |"
    )


def samples_of(model: Path, real: Mapping[str, npt.NDArray[Any]], photographs: bool) -> list[Sample]:
    """Samples to calibrate on and to compare on, one by one: given, photographs, or random; free dimensions are 1."""
    count = CALIBRATED_ON + COMPARED_ON
    session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
    inputs = session.get_inputs()
    shapes = {entry.name: [size if isinstance(size, int) else 1 for size in entry.shape] for entry in inputs}
    if photographs:
        real = {name: crops(count, *shape[2:]) for name, shape in shapes.items()}
    if set(real) >= set(shapes):
        return [{name: real[name][index : index + 1] for name in shapes} for index in range(count)]
    return random_samples(shapes, count, SEED)


def quantised(source: Path, target: Path, samples: Sequence[Sample], how: Mapping[str, Any]) -> Quantised:
    """A model after onnxruntime's own pre-processing and static quantisation."""
    prepared = target.with_suffix(".prepared.onnx")
    with quietly():
        _prepare(source, prepared)
        quantize_static(prepared, target, Samples(samples[:CALIBRATED_ON]), **how)
    batch_norms = sum(node.op_type == "BatchNormalization" for node in onnx.load(target).graph.node)
    outputs = outputs_of(target, samples[CALIBRATED_ON:], optimised=True)
    return Quantised(target, batch_norms, _operators_on_integers(target), outputs)


def _operators_on_integers(model: Path) -> int:
    """Those that onnxruntime made of operators between quantizers."""
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(model.with_suffix(".optimised.onnx"))
    ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    nodes = onnx.load(options.optimized_model_filepath).graph.node
    return sum(node.op_type.startswith(("QLinear", "QGemm", "MatMulInteger")) for node in nodes)


def _prepare(source: Path, target: Path) -> None:
    """As onnxruntime advises; where its symbolic shape inference does not know an operator, without that."""
    try:
        quant_pre_process(source, target)
    except Exception:  # of any kind, from sympy to its own
        quant_pre_process(source, target, skip_symbolic_shape=True)


def session_of(model: Path, *, optimised: bool) -> ort.InferenceSession:
    """On one thread."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    if not optimised:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def outputs_of(model: Path, samples: Sequence[Sample], *, optimised: bool) -> list[npt.NDArray[np.float64]]:
    """See `Quantised`."""
    session = session_of(model, optimised=optimised)
    return [
        np.concatenate([np.ravel(output).astype(np.float64) for output in session.run(None, {**sample})])
        for sample in samples
    ]


def runner(model: Path, sample: Sample) -> Callable[[], Any]:
    """What runs a model once."""
    session, feeds = session_of(model, optimised=True), {**sample}
    return lambda: session.run(None, feeds)


def sqnr(expected: Sequence[npt.NDArray[np.float64]], got: Sequence[npt.NDArray[np.float64]]) -> float:
    """Signal to noise over all samples, in decibels."""
    signal = sum(float(np.vdot(each, each)) for each in expected)
    noise = sum(float(np.vdot(one - other, one - other)) for one, other in zip(expected, got, strict=True))
    return float(10 * np.log10(signal / noise)) if noise else float("inf")


if __name__ == "__main__":
    main()
