"""BNF1xx: the algebra forbids the move."""

from bnfold.explanations.explanation import (
    LOWER,
    NOT_WORTH_IT,
    NOTHING,
    NOTHING_BUT_LOWER,
    WOULD_ROUND_WORSE,
    Explanation,
)
from bnfold.refusal import Reason

EXPLANATIONS = {
    Reason.NOT_LINEAR: Explanation(
        "neither scale nor shift can pass {op}",
        "There is no constant with which f(s * x + t) equals s' * f(x) + t' for this operator f. So neither a scale "
        "nor a shift gets to the other side, and the operator has no weight that could take them.",
        before="Conv -> Softmax -> BatchNorm",
        after="it stays: softmax(s * x) is no multiple of softmax(x)",
        advice=NOTHING_BUT_LOWER,
    ),
    Reason.WRONG_AXIS: Explanation(
        "{op} mixes or lacks the axis of the scale",
        "The map has a number for each place of an axis that the operator sums over, mixes or does not have. Its "
        "weight has no entry for each of these places.",
        before="MatMul over the last axis -> BatchNorm over axis 1",
        after="it stays: the weight has one entry for each place of the last axis",
        advice=NOTHING_BUT_LOWER,
    ),
    Reason.SHIFT_CANNOT_PASS: Explanation(
        "a shift cannot pass {op}",
        "A scale gets through the operator, a shift does not: relu(2 * x) is 2 * relu(x), but relu(x + 1) is not "
        "relu(x) + 1.",
        before="Conv -> Relu -> BatchNorm -> the graph's output",
        after="it stays: what reads the BatchNorm's output has no weight, and the Relu is in front",
        advice="Nothing in the file. A BatchNorm behind an activation folds where an operator with weights reads it, "
        "and nothing else does. "
        f"{LOWER}",
    ),
    Reason.NEEDS_NON_NEGATIVE_SCALE: Explanation(
        "a negative scale cannot pass {op}",
        "Operators that compare numbers let only scales >= 0 through, since max(-x) is not -max(x), and some channels "
        "have a negative one. The evidence says how many.",
        before="Conv -> Relu -> BatchNorm with scale[17] = -0.41",
        after="it stays: with every scale >= 0 it would be Conv' -> Relu",
        advice=NOTHING_BUT_LOWER,
    ),
    Reason.OTHER_BRANCH: Explanation(
        "another branch of {op} cannot take the scale",
        "A scale in front of a sum belongs to every branch of it, and one of the branches cannot give or take it.",
        before="(Conv + x) -> BatchNorm, where x is an input of the graph",
        after="it stays: s * (conv + x) needs s * x",
        advice=NOTHING_BUT_LOWER,
    ),
    Reason.PARAMETER_GROWS: Explanation(
        "a constant of {op} would grow",
        "A constant would have to be repeated for each channel or pixel, and become larger than it and the map "
        "together are. The file would grow, and the model would read more memory.",
        before="Mul by c [1, 1, 56, 56] -> BatchNorm over 64 channels",
        after="it stays: one constant [1, 64, 56, 56] for both is 49 times as large",
        advice=NOTHING,
        verdict=NOT_WORTH_IT,
    ),
    Reason.NO_BIAS: Explanation(
        "{op} has no room for the shift",
        "The operator takes the scale and has no bias for the shift. An Add behind it would do, and cost as much as "
        "the node that goes.",
        before="Add a constant -> MatMul",
        after="it stays: MatMul -> Add is as long",
        advice=NOTHING,
        verdict=NOT_WORTH_IT,
    ),
    Reason.BRANCHES_DIFFER: Explanation(
        "the branches read their input differently",
        "Parallel branches read their input in different ways, with other strides or dilations, other padding, "
        "another axis, so that no one kernel reads what they all read.",
        before="Conv(stride 1) + Conv(stride 2) of one tensor",
        after="they stay apart",
        advice=NOTHING,
    ),
    Reason.COSTS_MORE: Explanation(
        "one operator would take more work",
        "One operator for all branches exists, and takes more multiply-adds or weights than they do: a 3x3 depthwise "
        "Conv and a 1x1 Conv would become one dense 3x3 Conv.",
        before="Conv 3x3 depthwise + Conv 1x1 of one tensor",
        after="they stay apart: one dense 3x3 Conv takes nine times as many multiply-adds as the 1x1",
        advice=NOTHING,
        verdict=NOT_WORTH_IT,
    ),
    Reason.ZERO_SCALE: Explanation(
        "a scale is 0, and has no inverse",
        "Others read the tensor too, and would need the inverse of the map. Where a channel has scale 0, as pruned "
        "channels do, nothing gives back what it was.",
        before="x -> BatchNorm with scale[5] = 0, and x -> Add",
        after="it stays: the Add needs x[5], and 0 * x[5] has lost it",
        advice=NOTHING_BUT_LOWER,
    ),
    Reason.CYCLE: Explanation(
        "two ways ask {op} for different maps",
        "The map reaches one tensor on two ways, and they ask for different maps of it: often around a residual "
        "connection.",
        before="x -> BatchNorm -> Conv -> Add(x)",
        after="it stays: the skip asks for x as it is, the Conv for x with the map",
        advice=NOTHING_BUT_LOWER,
    ),
    Reason.CONDITIONING: Explanation(
        "others would see numbers that round worse",
        "Others read the tensor too, and can take the inverse of the map in exact arithmetic. But their input would be "
        "far from zero, or in a range in which the type has fewer digits, and their results would be rounded worse.",
        before="x -> BatchNorm whose mean is 80 deviations from zero, and x -> Conv",
        after="it stays: the Conv would subtract large numbers from large numbers",
        advice="Nothing in this type. In a wider one (float32 for float16) the limits are wider.",
        verdict=WOULD_ROUND_WORSE,
    ),
}
