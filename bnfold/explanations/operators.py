"""BNF4xx and BNF5xx: an operator is not understood, or the check was against it."""

from bnfold.explanations.explanation import Explanation
from bnfold.refusal import Reason

_UNKNOWN = "cannot be folded past an operator that bnfold does not know"

EXPLANATIONS = {
    Reason.UNKNOWN_OPERATOR: Explanation(
        "bnfold has no rule for {op}",
        "There is no law for this operator in bnfold, so nothing moves through it. What is not known is never guessed.",
        before="Conv -> NewOperator -> BatchNorm",
        after="it stays until bnfold knows the operator",
        advice="Report the operator, or teach it: docs/extending.md shows how, mostly a few lines.",
        verdict=_UNKNOWN,
    ),
    Reason.FOREIGN_DOMAIN: Explanation(
        "{op} is of another domain",
        "The operator is of another domain than ONNX's own (com.microsoft, a company's, a function of the model), and "
        "bnfold has no rule for it there. Its name tells nothing: two operators called Gelu may differ.",
        before="Conv -> com.example.Swish -> BatchNorm",
        after="with a function inlined, or standard operators exported:  Conv' as elsewhere",
        advice="If it is a function of the model, inline it (onnx.inliner). If a tool has fused operators "
        "(onnxruntime's optimised models), fold the model that the tool was given.",
        remedy="fold before other tools fuse operators, or inline the model's functions",
    ),
    Reason.UNKNOWN_VERSION: Explanation(
        "this version of {op} is not known",
        "The operator has another version in this opset than those that bnfold was taught, and versions differ.",
        before="opset 99: Conv -> BatchNormalization",
        after="exported to an opset that bnfold knows:  Conv'",
        advice="Export to another opset, or convert the file (onnx.version_converter). A newer bnfold may know it.",
        remedy="export to an opset that bnfold knows",
    ),
    Reason.MALFORMED: Explanation(
        "{op} contradicts its specification",
        "The node contradicts the specification of its operator: an input is missing, a type or a number of channels "
        "is wrong. Runtimes may refuse it, or run it in ways of their own.",
        before="Conv with 64 channels -> BatchNormalization with 32",
        after="it stays: nobody can say what it means",
        advice="Run onnx.checker on the file, and look at what wrote it.",
        verdict="cannot be folded: the file is malformed there",
    ),
    Reason.REVERTED: Explanation(
        "its fold failed the check",
        "The fold was made, the check found a difference, and {revert} dropped it.",
        before="Conv -> BatchNorm, whose fold failed the check",
        after="it stays, and the rest of the model is folded",
        advice="Report it with the model: it is a bug in bnfold or in onnxruntime.",
        verdict="was folded, failed the check and was put back: please report it",
    ),
}
