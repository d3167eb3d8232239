"""What `--lower` leaves, and what its forms cost in int8: `python -m benchmarks.lowering [MODEL...] [--int8]`.

For every model: its BatchNorms, how many fold, and for each form how many are lowered and how many are left. Each
result is run by onnxruntime at ORT_DISABLE_ALL; the error is the largest difference of any form from the original, in
units of the output's scale. The exit status is 1 where that is more than rounding, and than what one bit of the input
makes of the original.

`--int8` takes a small pre-activation network whose BatchNorms stay unless they fold across the stream: left as they
are, lowered in each form, and folded. Each is quantised with onnxruntime's quantize_static, QDQ, weights int8,
activations uint8. Signal to noise is that against the float original on samples that were not calibrated on, the median
and the quartiles of twelve networks.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import get_args

import numpy as np
import onnx
import onnxruntime as ort
from onnxruntime.quantization import QuantType, quantize_static

import bnfold
from benchmarks.calibration import Sample, Samples, quietly, random_samples
from benchmarks.quantisation import CALIBRATED_ON, COMPARED_ON, outputs_of, sqnr
from benchmarks.streams import error, judged
from bnfold.engine import fold_graph
from bnfold.frontends.onnx.port import OnnxPort
from bnfold.frontends.onnx.storage import TensorStore
from bnfold.outcome import LowerTo, Outcome
from tests.networks import Network

FORMS: tuple[LowerTo, ...] = get_args(LowerTo)
WAYS: Mapping[str, bnfold.FoldOptions] = {
    "BatchNorm left": bnfold.FoldOptions(across=False),
    **{f"--lower {form}": bnfold.FoldOptions(across=False, lower=form) for form in ("conv", "affine", "add")},
    "folded across": bnfold.FoldOptions(),
}
NETWORKS, CHANNELS, BLOCKS, IMAGE = 12, 24, 4, 16


def main() -> int:
    """Print the tables; the exit status is 1 where a result is not the original's."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", type=Path)
    parser.add_argument("--int8", action="store_true", help="signal to noise of a small network in int8")
    given = parser.parse_args()
    wrong = list(_print_counts(given.models))
    if given.int8:
        _print_int8()
    return int(any(wrong))


def _print_counts(paths: list[Path]) -> Iterator[bool]:
    """A line for each model; whether a form of it is wrong."""
    if paths:
        print(f"| model | BatchNorms | fold | {' | '.join(f'{form}: lowered, left' for form in FORMS)} | error |")
        print(f"|---|--:|--:|{'--:|' * len(FORMS)}--:|")
    for path in paths:
        model = onnx.load(path)
        lowered = [_lowered(model, form) for form in FORMS]
        outcome = lowered[0][0]
        found = sum(entry.is_batch_norm for entry in (*outcome.folds, *outcome.kept)) + len(outcome.lowered)
        folded = sum(entry.is_batch_norm for entry in outcome.folds)
        cells = [f"{len(entry.lowered)}, {_batch_norms(result)}" for entry, result in lowered]
        said, is_wrong = judged(model, max(error(model, result) for _, result in lowered))
        print(f"| {path.stem} | {found} | {folded} | {' | '.join(cells)} | {said} |", flush=True)
        yield is_wrong


def _lowered(model: onnx.ModelProto, form: LowerTo) -> tuple[Outcome, onnx.ModelProto]:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    port = OnnxPort(copy, TensorStore(None))
    outcome = fold_graph(port, lower=form)
    port.finish()
    return outcome, copy


def _batch_norms(model: onnx.ModelProto) -> int:
    return sum(node.op_type == "BatchNormalization" for node in model.graph.node)


def _print_int8() -> None:
    measured = {
        per_channel: [_signal_to_noise(seed, per_channel) for seed in range(NETWORKS)] for per_channel in (0, 1)
    }
    print("| BatchNorms | operators more than folded | one scale for each weight, dB | one for each channel, dB |")
    print("|---|--:|--:|--:|")
    for name in WAYS:
        cells = [_quartiles([ratios[name][1] for ratios in found]) for found in measured]
        print(f"| {name} | {measured[0][0][name][0]} | {' | '.join(cells)} |")


def _quartiles(values: list[float]) -> str:
    low, median, high = np.percentile(values, [25, 50, 75])
    return f"{median:.1f} ({low:.1f} to {high:.1f})"


def _signal_to_noise(seed: int, *, per_channel: bool) -> dict[str, tuple[int, float]]:
    """For each way, how many operators more than folded it has, and its decibels."""
    samples = random_samples({"x": [1, 3, IMAGE, IMAGE]}, CALIBRATED_ON + COMPARED_ON, seed)
    with tempfile.TemporaryDirectory() as folder:
        source, target, integers = (Path(folder) / f"{name}.onnx" for name in ("model", "way", "int8"))
        onnx.save(pre_activation(seed, samples[:CALIBRATED_ON]), source)
        expected = outputs_of(source, samples[CALIBRATED_ON:], optimised=False)
        found: dict[str, tuple[int, float]] = {}
        for name, options in WAYS.items():
            assert bnfold.fold_file(source, target, options).verification.passed
            with quietly():
                quantize_static(
                    target,
                    integers,
                    Samples(samples[:CALIBRATED_ON]),
                    per_channel=per_channel,
                    activation_type=QuantType.QUInt8,
                )
            got = outputs_of(integers, samples[CALIBRATED_ON:], optimised=True)
            found[name] = len(onnx.load(target).graph.node), sqnr(expected, got)
            target.unlink()
    least = min(nodes for nodes, _ in found.values())
    return {name: (nodes - least, ratio) for name, (nodes, ratio) in found.items()}


def pre_activation(seed: int, samples: list[Sample]) -> onnx.ModelProto:
    """x + conv(relu(bn(x))) a few times, with statistics as measured: He et al. 2016, https://arxiv.org/abs/1603.05027."""
    network = Network(seed=seed)
    _conv(network, "x", "stem", 3)
    stream = "stem"
    for block in range(BLOCKS):
        _normed(network, stream, f"n{block}", samples)
        _conv(network, f"n{block}.ramp", f"c{block}", CHANNELS)
        stream = network.node("Add", [stream, f"c{block}"], f"s{block}")
    _normed(network, stream, "last", samples)
    network.node("GlobalAveragePool", ["last.ramp"], "pooled")
    _conv(network, "pooled", "y", CHANNELS, kernel=1)
    return network.model({"x": [1, 3, IMAGE, IMAGE]}, ["y"])


def _conv(network: Network, source: str, output: str, inputs: int, *, kernel: int = 3) -> None:
    deviation = np.sqrt(2 / (inputs * kernel * kernel))
    weight = network.random.normal(size=(CHANNELS, inputs, kernel, kernel)) * deviation
    names = [network.constant(f"{output}.weight", weight), network.constant(f"{output}.bias", np.zeros(CHANNELS))]
    network.node("Conv", [source, *names], output, pads=[kernel // 2] * 4)


def _normed(network: Network, source: str, output: str, samples: list[Sample]) -> None:
    """A BatchNorm, as training leaves it, and a Relu."""
    so_far = network.model({"x": [1, 3, IMAGE, IMAGE]}, [source]).SerializeToString()
    session = ort.InferenceSession(so_far, providers=["CPUExecutionProvider"])
    runs = [session.run(None, {**sample})[0] for sample in samples]
    values = np.concatenate([made.swapaxes(0, 1).reshape(CHANNELS, -1) for made in runs], axis=1)
    parameters = {
        "scale": network.random.lognormal(0.0, 0.5, CHANNELS),
        "bias": network.random.normal(0.0, 0.5, CHANNELS),
        "mean": values.mean(axis=1),
        "var": values.var(axis=1),
    }
    names = [network.constant(f"{output}.{key}", numbers) for key, numbers in parameters.items()]
    network.node("BatchNormalization", [source, *names], output)
    network.node("Relu", [output], f"{output}.ramp")


if __name__ == "__main__":
    sys.exit(main())
