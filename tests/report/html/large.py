"""Reports of many nodes, with names as long as exporters make them."""

from bnfold.int8 import WeightRange
from bnfold.label import Label
from bnfold.outcome import Fold, Kept, Lowered, Quantization, Surroundings
from bnfold.refusal import Reason, Refusal
from bnfold.scales import ScaleSummary
from bnfold.verification import TensorCheck, Verification
from tests.reports import report

SCALES = ScaleSummary(64, 3, 1, 0, 0, 0.01, 0.4, 0.9, 1.3, 2.5, 0.7)
WEIGHTS = Quantization("conv1", WeightRange((0.2, 1.5), 0, 38.4, 44.6), WeightRange((0.1, 2.0), 0, 27.9, 33.5))


def name(index, end):
    return f"/features/denseblock{index % 7}/denselayer{index}/{end}"


def batch_norm(index):
    return Label(name(index, "norm1/BatchNormalization"), "BatchNormalization")


def place(index):
    return Surroundings(
        Label(name(index, "conv1/Conv"), "Conv"), (Label(name(index, "relu1/Relu"), "Relu"),), 1, SCALES
    )


def folded(index, direction="upstream", number=None):
    label = batch_norm(index)
    return Fold(
        label,
        "BatchNormalization",
        True,
        f"{label}_output_0",
        direction,
        (Label(name(index, "conv1/Conv"), "Conv"),),
        (),
        1.5,
        number=index if number is None else number,
        quantization=WEIGHTS,
        surroundings=place(index),
    )


def left(index):
    label = batch_norm(index)
    relu, concat = (Label(name(index, f"{op.lower()}/{op}"), op) for op in ("Relu", "Concat"))
    readers = tuple(Label(name(index + other, "concat/Concat"), "Concat") for other in (1, 2, 3))
    told = ", ".join(f"'{reader}' (Concat)" for reader in readers)
    refusals = (
        Refusal(
            Reason.OTHER_CONSUMERS,
            f"'{name(index, 'conv1/Conv_output_0')}' is also read by {told} and 8 more",
            (label, concat, Label(name(index, "conv1/Conv"), "Conv")),
            readers=readers,
            way="upstream",
        ),
        Refusal(Reason.SHIFT_CANNOT_PASS, "Relu bends at zero", (label, relu), way="downstream"),
    )
    return Kept(label, "BatchNormalization", True, refusals, number=index, surroundings=place(index))


LOWERED = Lowered(
    batch_norm(0), "BatchNormalization", "bn_out", ("Mul", "Add"), left(0).refusals, number=0, surroundings=place(0)
)


def large_report(folds=0, stays=0):
    """Folds and nodes that stay, one after the other."""
    made = [folded(2 * index) for index in range(folds)]
    tensors = [
        TensorCheck(fold.tensor, frozenset({fold.tensor}), 1e-6, 3, True, noise_floor=2e-6, excess=0.25)
        for fold in made
    ]
    return report(
        made,
        [left(2 * index + 1) for index in range(stays)],
        verification=Verification("passed", 6, 0, tensors=tuple(tensors)),
    )
