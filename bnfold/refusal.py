"""Refusals: why an affine map may not move, as values with a stable code and evidence."""

from dataclasses import dataclass, replace
from enum import Enum
from typing import Literal

Way = Literal["", "upstream", "downstream", "both", "across"]


class Reason(Enum):
    """Every reason for which bnfold leaves a node where it is; codes are never reused.

    BNF0xx: the node is not a constant affine map. BNF1xx: the algebra forbids the move. BNF2xx: the graph around
    forbids it. BNF3xx: the weights cannot take it. BNF4xx: an operator that bnfold does not understand is in the way.
    BNF5xx: the check was against it.
    """

    code: str
    slug: str
    meaning: str

    def __init__(self, code: str, slug: str, meaning: str) -> None:
        self.code = code
        self.slug = slug
        self.meaning = meaning

    TRAINING_MODE = (
        "BNF001",
        "training-mode",
        "the node computes as in training: with the statistics of the batch, or at random",
    )
    STATISTICS_OUTPUTS = ("BNF002", "statistics-outputs", "the node also outputs statistics of what it reads")
    NOT_SPATIAL = (
        "BNF003",
        "not-spatial",
        "BatchNormalization before opset 9 with spatial=0 asks for statistics per pixel",
    )
    NOT_FINITE = ("BNF004", "not-finite", "a parameter holds NaN or infinity, or divides by zero")
    NON_POSITIVE_VARIANCE = ("BNF005", "non-positive-variance", "variance + epsilon is zero or negative in a channel")
    DYNAMIC_PARAMETER = ("BNF006", "dynamic-parameter", "a parameter is computed at run time or given by the caller")
    EXCLUDED = ("BNF007", "excluded", "the caller asked to leave this node alone")
    UNKNOWN_SHAPE = ("BNF008", "unknown-shape", "the rank or a dimension that decides is not known before run time")
    BROADCASTS_ACTIVATION = ("BNF009", "broadcasts-activation", "the constant changes the shape of the activation")

    NOT_LINEAR = ("BNF101", "not-linear", "the map can move neither through this operator nor into it")
    WRONG_AXIS = ("BNF102", "wrong-axis", "the map varies along an axis that the operator mixes or does not have")
    SHIFT_CANNOT_PASS = ("BNF103", "shift-cannot-pass", "a scale may move through the operator, a shift may not")
    NEEDS_NON_NEGATIVE_SCALE = ("BNF104", "needs-non-negative-scale", "only a scale >= 0 commutes with the operator")
    OTHER_BRANCH = ("BNF106", "other-branch", "another branch of a sum does not carry the same scale")
    PARAMETER_GROWS = ("BNF107", "parameter-grows", "a constant would become larger than it and the map are")
    ZERO_SCALE = ("BNF110", "zero-scale", "other readers would need the inverse of the map, and a scale is 0")
    CYCLE = ("BNF111", "cycle", "two ways through the graph ask for different maps of one tensor")
    CONDITIONING = (
        "BNF112",
        "conditioning",
        "other readers would see numbers that the type rounds worse: far from zero, or much smaller or larger",
    )
    NO_BIAS = ("BNF105", "no-bias", "the operator has nowhere to put a shift and another node would cost as much")
    BRANCHES_DIFFER = ("BNF108", "branches-differ", "no one kernel reads what parallel branches read of their input")
    COSTS_MORE = ("BNF109", "costs-more", "one operator for parallel branches would take more multiply-adds or weights")

    OTHER_CONSUMERS = ("BNF201", "other-consumers", "another node reads the tensor that would change")
    GRAPH_OUTPUT = ("BNF202", "graph-output", "the tensor that would change is an output of the graph")
    CAPTURED = ("BNF203", "captured", "the body of an If, Loop or Scan reads the tensor that would change")
    NO_READER = ("BNF206", "no-reader", "nothing reads the node's output, so nothing after it can absorb")
    MUTATED = ("BNF207", "mutated", "an operator in place changes memory that others see")
    GRAPH_INPUT = ("BNF204", "graph-input", "the tensor comes from outside: nothing before it can absorb")
    CONSTANT = ("BNF208", "constant", "the tensor is a constant, and no node before it can absorb")
    SPELLED_OUT = ("BNF209", "spelled-out", "the constant belongs to an operator that runtimes put together again")

    DYNAMIC_WEIGHT = ("BNF301", "dynamic-weight", "the weight is computed at run time or given by the caller")
    DYNAMIC_BIAS = ("BNF302", "dynamic-bias", "the bias is computed at run time or given by the caller")
    OVERFLOW = ("BNF303", "overflow", "a folded weight exceeds the largest number of its type")
    UNDERFLOW = ("BNF304", "underflow", "a folded weight would lose precision below the smallest normal number")
    SPARSE = ("BNF306", "sparse", "the parameter is stored as a sparse tensor")
    QUANTIZED = ("BNF307", "quantized", "the parameter is stored quantised, and cannot take the map exactly")
    OVERRIDABLE = ("BNF305", "overridable", "the parameter is also a graph input, and the caller asked to keep those")

    UNKNOWN_OPERATOR = ("BNF401", "unknown-operator", "bnfold has no rule for this operator")
    FOREIGN_DOMAIN = ("BNF402", "foreign-domain", "the operator belongs to another domain, whatever its name says")
    UNKNOWN_VERSION = ("BNF403", "unknown-version", "bnfold has not been taught this version of the operator")
    MALFORMED = ("BNF404", "malformed", "the node contradicts its operator's specification")

    REVERTED = ("BNF501", "reverted", "the fold was made, failed the check, and was dropped so that the rest holds")


@dataclass(frozen=True)
class Refusal:
    """Why a map cannot move.

    Attributes:
        reason: the stable code.
        evidence: what was seen, in figures where there are any: "scale < 0 in 3 of 64 channels, min -0.41".
        path: labels of the nodes from the one that stays to the one that stopped it.
        hint: what a person could change in the model; empty where nothing helps.
        readers: labels of the nodes whose reading forbids it, the first few.
        way: which way the map was to go; "" where it is the node itself that forbids it.
    """

    reason: Reason
    evidence: str
    path: tuple[str, ...] = ()
    hint: str = ""
    readers: tuple[str, ...] = ()
    way: Way = ""

    def __repr__(self) -> str:
        """In one line, as somebody wants it at a prompt."""
        way = f", {self.way}" if self.way else ""
        return f"<{self.reason.code} {self.reason.slug}{way}: {self.evidence}>"

    def along(self, *path: str) -> "Refusal":
        """The same refusal, met on this path."""
        return replace(self, path=path)

    def going(self, way: Way) -> "Refusal":
        """The same refusal, met when the map was to go this way."""
        return replace(self, way=way)
