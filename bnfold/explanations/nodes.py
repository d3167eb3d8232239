"""BNF0xx: the node is not a constant affine map."""

from bnfold.explanations.explanation import NOTHING, Explanation
from bnfold.refusal import Reason

_NOT_A_NUMBER = (
    "Look at the checkpoint: weights with NaN come from a training that diverged, or from a conversion that went wrong."
)

EXPLANATIONS = {
    Reason.TRAINING_MODE: Explanation(
        "it computes as in training",
        "A BatchNorm in training mode uses mean and variance of the batch that it is given, and a Dropout in training "
        "mode drops at random. Neither is a constant map, so there is nothing to fold.",
        before="Conv -> BatchNormalization(training_mode=1)",
        after="exported from model.eval():  Conv'",
        advice="Call model.eval() before the export. If the file is what you have and inference is meant, give "
        "{assume_inference}; the check then compares with the model read that way.",
        remedy="export after model.eval(), or give {assume_inference}",
    ),
    Reason.STATISTICS_OUTPUTS: Explanation(
        "it also outputs statistics, as in training",
        "Beside its result the node outputs the mean and variance of what it reads, as it does in training. Somebody "
        "may read them, and a Conv has no such outputs.",
        before="Conv -> BatchNormalization -> y, mean, var",
        after="exported from model.eval():  Conv' -> y",
        advice="Export the model in inference mode. Before opset 14 these outputs alone mean training; if inference is "
        "meant, give {assume_inference}.",
        remedy="export after model.eval(), or give {assume_inference}",
    ),
    Reason.NOT_SPATIAL: Explanation(
        "it asks for a mean for each pixel (spatial=0)",
        "Before opset 9, spatial=0 asks for a mean and a variance for each pixel. Runtimes refuse such a node, and "
        "most exporters that wrote it meant one for each channel.",
        before="Conv -> BatchNormalization(spatial=0)",
        after="with spatial=1:  Conv'",
        advice="If one mean for each channel is meant, export to opset 9 or newer, or set the attribute to 1.",
        remedy="export to opset 9 or newer, where the attribute is gone",
    ),
    Reason.NOT_FINITE: Explanation(
        "a parameter holds NaN or infinity",
        "A scale, bias, mean, variance or weight holds NaN or infinity, or would have to be divided by zero. The "
        "product with a weight would be NaN as well, and hide where it came from.",
        before="Conv -> BatchNormalization with scale[3] = nan",
        after="it stays: the model answers NaN in channel 3, and goes on doing so",
        advice=_NOT_A_NUMBER,
    ),
    Reason.NON_POSITIVE_VARIANCE: Explanation(
        "variance + epsilon is not positive in a channel",
        "In a channel, variance + epsilon is zero or negative, so its square root is no number to divide by.",
        before="Conv -> BatchNormalization with variance[3] = -1, epsilon = 1e-5",
        after="it stays: the channel has no scale",
        advice=f"{_NOT_A_NUMBER} A variance is never negative.",
    ),
    Reason.DYNAMIC_PARAMETER: Explanation(
        "a parameter is computed at run time",
        "A parameter of the node is computed while the model runs, or is an input that the caller gives. What is not "
        "known beforehand cannot be multiplied into a weight.",
        before="Conv -> Mul by the output of another branch",
        after="with a constant in its place:  Conv'",
        advice="Nothing if it really varies, as in attention and in squeeze-and-excitation. If it is the same in every "
        "run, export with constant folding, so that it becomes an initializer; if it is a parameter of a function, "
        "inline the functions first (onnx.inliner).",
        remedy="export the parameter as a constant, in case it never varies",
    ),
    Reason.EXCLUDED: Explanation(
        "the caller asked to leave it alone",
        "A pattern of {exclude} matches the node, or a function or body around it.",
        before="Conv -> bn1, with {exclude} bn*",
        after="without the pattern:  Conv'",
        advice="Take the pattern away, or make it narrower.",
        remedy="take it out of {exclude}",
    ),
    Reason.UNKNOWN_SHAPE: Explanation(
        "a shape that decides is not known",
        "The rank of a tensor, or a size that decides, is not known before the model runs. Without the rank nobody can "
        "tell which axis the channels are on.",
        before="x of unknown rank -> BatchNorm -> Reshape -> Gemm",
        after="with x of shape [N, 64, 56, 56]:  Gemm'",
        advice="Give the graph's inputs shapes with a rank; sizes may stay symbolic. For TorchScript, give {shapes}. "
        "Declared shapes inside of the graph are not believed, because a wrong one would become a wrong fold.",
        remedy="give the inputs of the graph a shape (TorchScript: {shapes})",
    ),
    Reason.BROADCASTS_ACTIVATION: Explanation(
        "its constant makes the tensor larger",
        "The constant is larger than the tensor, so the node makes the tensor larger as well. A weight in front of it "
        "would have to make a tensor of another shape.",
        before="x [1, 64, 1, 1] -> Mul by c [1, 64, 7, 7] -> y [1, 64, 7, 7]",
        after="it stays: a Conv in front makes one pixel",
        advice=NOTHING,
    ),
}
