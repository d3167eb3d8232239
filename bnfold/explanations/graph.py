"""BNF2xx: the graph around forbids it."""

from bnfold.explanations.explanation import LOWER, NOTHING_BUT_LOWER, Explanation
from bnfold.refusal import Reason

EXPLANATIONS = {
    Reason.OTHER_CONSUMERS: Explanation(
        "others read what {op} makes",
        "An operator in front that takes the map makes other numbers. The BatchNorm's readers want these; another node "
        "that reads the same tensor wants the old ones. Where that node can take the inverse, bnfold gives it the "
        "inverse; here it cannot.",
        before="Conv -> BatchNorm -> Relu,  and Conv -> Sigmoid",
        after="it stays: Conv' would give the Sigmoid other numbers",
        advice="Nothing in the file. Pre-activation networks (ResNet v2, DenseNet) normalise tensors that many read: "
        "this is how they are made. "
        f"{LOWER}",
    ),
    Reason.GRAPH_OUTPUT: Explanation(
        "what {op} makes is an output of the model",
        "The tensor that would change is an output of the model. Its caller gets the same numbers as before, so it "
        "stays.",
        before="Conv -> y (an output) -> BatchNorm -> z (an output)",
        after="exported without y, if nobody needs it:  Conv' -> z",
        advice="If nobody needs that output, export the model without it; outputs for debugging are often left over.",
        remedy="drop that output of the model, in case nobody needs it",
    ),
    Reason.CAPTURED: Explanation(
        "the body of an If, Loop or Scan reads it",
        "The body of an If, Loop or Scan reads the tensor from outside. What it computes with other numbers is another "
        "thing, and it may run many times or never.",
        before="Conv -> BatchNorm,  and Conv -> the body of a Loop",
        after="it stays: the body reads the Conv as it is",
        advice=NOTHING_BUT_LOWER,
    ),
    Reason.NO_READER: Explanation(
        "nothing behind could take it",
        "Nothing reads what the node makes, or only the caller of the model. So there is nothing behind it that could "
        "take the map.",
        before="Relu -> BatchNorm -> y (an output)",
        after="it stays: it is the last operator",
        advice=NOTHING_BUT_LOWER,
    ),
    Reason.MUTATED: Explanation(
        "an operator in place changes its memory",
        "An operator in place (x.add_(1), x[0] = y) writes to memory that others see. Moved, it would be read before "
        "instead of after that.",
        before="conv = Conv(x); bn = BatchNorm(conv); conv.add_(1)",
        after="with conv = conv + 1:  the BatchNorm folds as in any graph",
        advice="Write the operator out of place in the source, y = y + 1 for y += 1, and export again: the network "
        "computes the same.",
        remedy="write the operator out of place (y = y + 1 for y += 1) and export again",
    ),
    Reason.GRAPH_INPUT: Explanation(
        "it reads an input of the model",
        "The tensor comes from the caller, so no weight is in front that could take the map.",
        before="input -> BatchNorm -> Relu",
        after="it stays: behind it is a Relu, in front of it nothing",
        advice="Nothing in the file. A caller who scales the input anyway can do this, too.",
    ),
    Reason.CONSTANT: Explanation(
        "it reads a constant",
        "The tensor is a constant, so there is no operator in front that could take the map. Runtimes "
        "compute such a node once, when they load the model.",
        before="constant -> Mul by a constant",
        after="it stays, and costs nothing",
        advice="Nothing is needed.",
    ),
    Reason.SPELLED_OUT: Explanation(
        "{op} is part of an operator that runtimes fuse",
        "The constant is part of an operator that an exporter wrote in pieces: a LayerNorm, a Gelu, a hard swish. "
        "Runtimes put the pieces together again by their pattern, and a fold would break it.",
        before="x * (erf(x / 1.414) + 1) * 0.5, which is a Gelu",
        after="it stays: onnxruntime runs it as one Gelu",
        advice="Nothing: as it is, it is faster.",
        verdict="could only be folded by breaking up an operator that runtimes fuse",
    ),
}
