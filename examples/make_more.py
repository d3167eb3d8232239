"""Exports five small untrained networks that mix BatchNorm with other layers, to see what folds and what stays.

Usage: python make_more.py FOLDER
Their statistics are random and wide, so that a BatchNorm that is dropped or folded on a wrong axis is far off. On one
machine, two runs write the same bytes.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

try:
    import torch
    from torch import nn
    from torch_exporters import batch_norms, check_export, export_with_torchscript
except ModuleNotFoundError as error:
    raise SystemExit(f"{error.name} is not installed: pip install '.[test]' in a checkout of bnfold") from error

SAMPLES = 256
WEIGHTED = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)


class RnnClassifier(nn.Module):
    """Sequences (N, 12, 6) to logits (N, 5).

    `steps_bn` is a BatchNorm over the steps of (N, C, L), C == L: its axis is not the one that the Linear before it
    puts out, although the lengths agree. `features_bn` stands behind a ReLU and before an LSTM.
    """

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(6, 12)
        self.steps_bn = nn.BatchNorm1d(12)
        self.features_bn = nn.BatchNorm1d(12)
        self.lstm = nn.LSTM(12, 16, batch_first=True, bidirectional=True)
        self.classifier = nn.Linear(32, 5)

    def forward(self, sequence: torch.Tensor) -> torch.Tensor:
        steps = torch.relu(self.steps_bn(self.embed(sequence)))
        features = self.features_bn(steps.transpose(1, 2)).transpose(1, 2)
        hidden, _ = self.lstm(features)
        logits: torch.Tensor = self.classifier(hidden.mean(dim=1))
        return logits


def gan_generator() -> nn.Module:
    """Noise (N, 24) to images (N, 1, 8, 8)."""
    return nn.Sequential(
        nn.Linear(24, 16 * 2 * 2, bias=False),
        nn.BatchNorm1d(16 * 2 * 2),
        nn.ReLU(),
        nn.Unflatten(1, (16, 2, 2)),
        nn.ConvTranspose2d(16, 12, 4, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(12),
        nn.ReLU(),
        nn.ConvTranspose2d(12, 8, 4, stride=2, padding=1, groups=2),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 1, 3, padding=1),
        nn.Tanh(),
    )


def autoencoder() -> nn.Module:
    """Images (N, 1, 16, 16) to images of the same shape."""
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 16, 3, stride=2, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.ConvTranspose2d(16, 8, 3, stride=2, padding=1, output_padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.ConvTranspose2d(8, 1, 2, stride=2, bias=False),
        nn.BatchNorm2d(1),
        nn.Sigmoid(),
    )


def mlp() -> nn.Module:
    """Features (N, 20) to logits (N, 4)."""
    return nn.Sequential(
        nn.Linear(20, 32),
        nn.BatchNorm1d(32),
        nn.ReLU(),
        nn.Linear(32, 16, bias=False),
        nn.BatchNorm1d(16),
        nn.ReLU(),
        nn.Linear(16, 4),
    )


def mixed_norms() -> nn.Module:
    """Images (N, 3, 8, 8) to logits (N, 6); BatchNorms before, behind and between a LayerNorm and an InstanceNorm."""
    return nn.Sequential(
        nn.BatchNorm2d(3),
        nn.Conv2d(3, 10, 3, bias=False),
        nn.BatchNorm2d(10),
        nn.ReLU(),
        nn.Conv2d(10, 12, 3, padding=1),
        nn.InstanceNorm2d(12, affine=True),
        nn.BatchNorm2d(12),
        nn.ReLU(),
        nn.BatchNorm2d(12),
        nn.InstanceNorm2d(12),
        nn.Flatten(),
        nn.Linear(12 * 6 * 6, 14),
        nn.LayerNorm(14),
        nn.BatchNorm1d(14),
        nn.ReLU(),
        nn.Linear(14, 6),
    )


NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "rnn_classifier": (RnnClassifier, (12, 6)),
    "gan_generator": (gan_generator, (24,)),
    "autoencoder": (autoencoder, (1, 16, 16)),
    "mlp": (mlp, (20,)),
    "mixed_norms": (mixed_norms, (3, 8, 8)),
}


def main() -> None:
    parser = argparse.ArgumentParser(description="Export five small networks with BatchNorms.")
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)  # sums in one order, whatever the number of cores
    for seed, (name, (build, sample_shape)) in enumerate(NETWORKS.items()):
        torch.manual_seed(seed)
        samples = torch.randn(SAMPLES, *sample_shape)
        network = build()
        widen(network)
        settle_statistics(network, samples)
        model = export_with_torchscript(network, samples[:1], "input", "output")
        check_export(name, model, network, samples[:7])
        (folder / f"{name}.onnx").write_bytes(model.SerializeToString(deterministic=True))


@torch.no_grad()
def widen(network: nn.Module) -> None:
    """Spreads the channels of the layers over orders of magnitude and sets gammas of either sign, tiny and zero.

    The last layer stays as it is: no BatchNorm behind it makes up for its magnitude.
    """
    layers = [module for module in network.modules() if isinstance(module, WEIGHTED)]
    for layer in layers[:-1]:
        output_axis = 1 if isinstance(layer, nn.ConvTranspose2d) else 0
        lengths = [1] * layer.weight.dim()
        lengths[output_axis] = -1
        magnitude = 10 ** torch.empty(layer.weight.shape[output_axis]).uniform_(-2, 0.5)
        layer.weight.mul_(magnitude.reshape(lengths))
        if layer.bias is not None:
            layer.bias.uniform_(-1, 1)
    for norm in batch_norms(network):
        norm.weight.uniform_(-2, 2)
        norm.weight[4::6] = 0
        norm.weight[5::6] = 1e-6
        norm.bias.uniform_(-2, 2)


@torch.no_grad()
def settle_statistics(network: nn.Module, samples: torch.Tensor) -> None:
    """Gives each BatchNorm the statistics of its own input, and leaves the network in eval mode.

    Statistics drawn without regard to that input let activations grow without bound, and a saturated Tanh, Sigmoid or
    LSTM hides errors.
    """
    norms = batch_norms(network)
    usual = nn.BatchNorm2d(1).momentum
    for norm in norms:
        norm.momentum = 1.0  # the running statistics become those of the last batch
    network.train()(samples)
    for norm in norms:
        norm.momentum = usual
    network.eval()


if __name__ == "__main__":
    main()
