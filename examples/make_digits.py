"""Trains a small CNN with BatchNorms on scikit-learn's digits and exports it with both of torch's exporters.

Usage: python make_digits.py
Writes beside this file digits_cnn.onnx (by the TorchScript exporter), digits_cnn_dynamo.onnx (by the dynamo exporter)
and digits_heldout.npz. It runs on the CPU in seconds; on one machine, two runs write the same bytes.
"""

from typing import NamedTuple

import numpy as np
import onnx
from check_digits import HELD_OUT, HERE, INPUT_NAME, accuracy, count_classified_differently

try:
    import torch
    from sklearn.datasets import load_digits  # type: ignore[import-untyped]
    from sklearn.model_selection import train_test_split  # type: ignore[import-untyped]
    from torch import nn
    from torch_exporters import check_export, export_with_dynamo, export_with_torchscript
except ModuleNotFoundError as error:
    raise SystemExit(f"{error.name} is not installed: pip install '.[test]' in a checkout of bnfold") from error

SEED = 0
EPOCHS = 20
BATCH_SIZE = 64
MAX_GREY = 16.0
MAX_BYTES = 200_000


class Digits(NamedTuple):
    """Images (N, 1, 8, 8) float32 in [0, 1] and labels (N,) int64, split into a part to train on and one held out."""

    train_images: torch.Tensor
    train_labels: torch.Tensor
    held_out_images: torch.Tensor
    held_out_labels: torch.Tensor


def main() -> None:
    torch.set_num_threads(1)  # sums in one order, whatever the number of cores
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(SEED)
    digits = split_digits()
    network = digits_cnn()
    train(network, digits)
    network.eval()
    models = {
        "digits_cnn.onnx": export_with_torchscript(network, digits.held_out_images[:2], INPUT_NAME, "logits"),
        "digits_cnn_dynamo.onnx": export_with_dynamo(network, digits.held_out_images[:2], INPUT_NAME, "logits"),
    }
    for name, model in models.items():
        check(name, model, network, digits)
    for name, model in models.items():
        (HERE / name).write_bytes(model.SerializeToString(deterministic=True))
    held_out = {INPUT_NAME: digits.held_out_images.numpy(), "labels": digits.held_out_labels.numpy()}
    np.savez_compressed(HELD_OUT, allow_pickle=False, **held_out)


def split_digits() -> Digits:
    images, labels = load_digits(return_X_y=True)
    images = (images / MAX_GREY).astype(np.float32).reshape(-1, 1, 8, 8)
    rows, held_out_rows = train_test_split(np.arange(len(labels)), test_size=0.25, random_state=SEED, stratify=labels)
    parts = images[rows], labels[rows], images[held_out_rows], labels[held_out_rows]
    return Digits(*map(torch.from_numpy, parts))


def digits_cnn() -> nn.Sequential:
    """Returns a classifier of (N, 1, 8, 8) images; a BatchNorm behind each kind of layer, with and without a bias."""
    layers = {
        "conv": nn.Conv2d(1, 16, 3, padding=1, bias=False),
        "conv_bn": nn.BatchNorm2d(16),
        "conv_relu": nn.ReLU(),
        "depthwise": nn.Conv2d(16, 16, 3, stride=2, padding=1, groups=16, bias=False),
        "depthwise_bn": nn.BatchNorm2d(16),
        "depthwise_relu": nn.ReLU(),
        "upsample": nn.ConvTranspose2d(16, 8, 2, stride=2),
        "upsample_bn": nn.BatchNorm2d(8),
        "upsample_relu": nn.ReLU(),
        "flatten": nn.Flatten(),
        "hidden": nn.Linear(8 * 8 * 8, 32),
        "hidden_bn": nn.BatchNorm1d(32),
        "hidden_relu": nn.ReLU(),
        "classifier": nn.Linear(32, 10),
    }
    network = nn.Sequential()
    for name, layer in layers.items():
        network.add_module(name, layer)
    return network


def train(network: nn.Module, digits: Digits) -> None:
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(digits.train_labels)).split(BATCH_SIZE):  # type: ignore[no-untyped-call]
            loss = nn.functional.cross_entropy(network(digits.train_images[rows]), digits.train_labels[rows])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()


def check(name: str, model: onnx.ModelProto, network: nn.Module, digits: Digits) -> None:
    """Prints how well `model` classifies the held-out images.

    Raises:
        ValueError: it is too big, lost a BatchNorm, or onnxruntime does not answer as torch does.
    """
    if model.ByteSize() > MAX_BYTES:
        raise ValueError(f"{name}: {model.ByteSize()} bytes, more than the {MAX_BYTES} an example should have")
    expected, logits = check_export(name, model, network, digits.held_out_images)
    if moved := count_classified_differently(expected, logits):
        raise ValueError(f"{name}: onnxruntime classifies {moved} held-out images differently from torch")
    print(f"  accuracy {accuracy(logits, digits.held_out_labels.numpy()):.2%} of {len(logits)} held-out images")


if __name__ == "__main__":
    main()
