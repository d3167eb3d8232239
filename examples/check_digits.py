"""Classifies the held-out digits with two models and compares the answers, to see that folding changed none of them.

Usage: python check_digits.py [MODEL [OTHER]]
Exit status: 0 the same class for every image, 1 not, 2 the two models cannot be compared.
"""

import argparse
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

HERE = Path(__file__).resolve().parent
HELD_OUT = HERE / "digits_heldout.npz"
INPUT_NAME = "image"


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare two models on the held-out digits.")
    parser.add_argument("model", nargs="?", type=Path, default=HERE / "digits_cnn.onnx")
    parser.add_argument("other", nargs="?", type=Path, default=HERE / "digits_cnn.folded.onnx")
    paths = parser.parse_args()
    for path in (paths.model, paths.other):
        if not path.is_file():
            parser.error(f"no model at {path}; fold one with: bnfold {HERE / 'digits_cnn.onnx'}")
    if paths.model.samefile(paths.other):
        parser.error(f"{paths.model} was given twice; give the original and the folded model")

    held_out = np.load(HELD_OUT)
    images, labels = held_out[INPUT_NAME], held_out["labels"]
    before = run_unoptimized(paths.model.read_bytes(), images)
    after = run_unoptimized(paths.other.read_bytes(), images)
    if before.shape != after.shape:
        parser.error(f"logits of shape {before.shape} against {after.shape}; give two models of one network")

    moved = count_classified_differently(before, after)
    for path, logits in ((paths.model, before), (paths.other, after)):
        print(f"{path.name:28} accuracy {accuracy(logits, labels):.2%} of {len(labels)} held-out images")
    print(f"images classified differently: {moved}")
    print(f"largest difference of logits:  {np.abs(before - after).max():.2g} of {np.abs(before).max():.3g}")
    raise SystemExit(1 if moved else 0)


def run_unoptimized(model: bytes, inputs: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Runs a serialized model with onnxruntime at ORT_DISABLE_ALL.

    At its default level onnxruntime folds Conv -> BatchNormalization itself, so that it would be compared with itself.

    Args:
        model: an ONNX model with one input and one output.
        inputs: what it takes; for the digits (N, 1, 8, 8), grey values in [0, 1].

    Returns:
        Its output; for the digits the logits, (N, 10).
    """
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    outputs: npt.NDArray[np.float32] = session.run(None, {session.get_inputs()[0].name: inputs})[0]
    return outputs


def accuracy(logits: npt.NDArray[np.float32], labels: npt.NDArray[np.int64]) -> float:
    return float(np.mean(logits.argmax(axis=1) == labels))


def count_classified_differently(before: npt.NDArray[np.float32], after: npt.NDArray[np.float32]) -> int:
    """Counts the rows of (N, classes) logits whose class differs, or is no class at all: logits that are NaN or inf."""
    finite = np.isfinite(before).all(axis=1) & np.isfinite(after).all(axis=1)
    same = finite & (before.argmax(axis=1) == after.argmax(axis=1))
    return int(np.count_nonzero(~same))


if __name__ == "__main__":
    main()
