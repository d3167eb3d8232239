"""BNF3xx: the weights cannot take it."""

from bnfold.explanations.explanation import WOULD_ROUND_WORSE, Explanation
from bnfold.refusal import Reason

_CONSTANT = (
    "If it is the same in every run, export with constant folding, so that it becomes an initializer; if it is a "
    "parameter of a function, inline the functions first (onnx.inliner). If it really varies, nothing."
)

EXPLANATIONS = {
    Reason.DYNAMIC_WEIGHT: Explanation(
        "the weight of {op} is computed at run time",
        "The weight of the operator is computed while the model runs, or is an input that the caller gives.",
        before="MatMul(x, w) -> BatchNorm, where w is an input of the graph",
        after="with w as an initializer:  MatMul'",
        advice=_CONSTANT,
        remedy="export the weight as a constant, in case it never varies",
    ),
    Reason.DYNAMIC_BIAS: Explanation(
        "the bias of {op} is computed at run time",
        "The bias of the operator is computed while the model runs, or is an input that the caller gives.",
        before="Gemm(x, w, b) -> BatchNorm, where b is an input of the graph",
        after="with b as an initializer:  Gemm'",
        advice=_CONSTANT,
        remedy="export the bias as a constant, in case it never varies",
    ),
    Reason.OVERFLOW: Explanation(
        "a weight of {op} would overflow",
        "A folded weight is larger than the largest number of its type: 65504 in float16. As it is, the large scale "
        "works on small activations.",
        before="Conv (float16) -> BatchNorm with variance 1e-8",
        after="exported in float32:  Conv'",
        advice="Export and deploy in float32. A scale of thousands mostly belongs to a channel that is nearly dead.",
        remedy="export in a wider type (float32)",
        verdict=WOULD_ROUND_WORSE,
    ),
    Reason.UNDERFLOW: Explanation(
        "a weight of {op} would underflow",
        "Folded weights would lie below the smallest normal number of their type, 6e-5 in float16, and lose digits.",
        before="Conv (float16) -> BatchNorm with scale 1e-6",
        after="exported in float32:  Conv'",
        advice="Export and deploy in float32.",
        remedy="export in a wider type (float32)",
        verdict=WOULD_ROUND_WORSE,
    ),
    Reason.OVERRIDABLE: Explanation(
        "callers may replace a parameter of {op}",
        "The parameter is an initializer and an input of the graph, so a caller may replace it, and {keep_overridable} "
        "says that somebody does.",
        before="Conv -> BatchNorm, whose scale is a graph input, too; with {keep_overridable}",
        after="without the option:  Conv'",
        advice="Leave the option out if no caller replaces parameters. Before IR version 4 every initializer is an "
        "input, whether anybody means it or not.",
        remedy="leave out {keep_overridable}",
    ),
    Reason.SPARSE: Explanation(
        "a parameter of {op} is sparse",
        "The parameter is stored as a sparse tensor, and bnfold does not write these.",
        before="Conv with a sparse weight -> BatchNorm",
        after="with the weight stored dense:  Conv'",
        advice="Store the parameter dense.",
        remedy="store the parameter dense",
    ),
    Reason.QUANTIZED: Explanation(
        "the integers of {op} cannot take it exactly",
        "The parameter is stored as integers with a scale. A map goes into the scale where there is one for each "
        "channel that it varies over; here the integers would have to change, and be rounded again.",
        before="int8 weight with one scale for all -> DequantizeLinear -> Conv -> BatchNorm",
        after="folded before it is quantised:  Conv' with an int8 weight of its own",
        advice="Fold first, then quantise; or quantise with a scale for each channel.",
        remedy="fold before you quantise",
    ),
}
