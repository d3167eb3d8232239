"""Operators that exporters spell out in several nodes, and runtimes put together again: their constants stay.

A constant that moves out of such a spelling costs more than it saves: the runtime does not see the operator any more,
and runs five nodes where it ran one.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from bnfold.frontends.common.scores import multiplied_scores
from bnfold.frontends.onnx.constants import OnnxConstants
from bnfold.frontends.onnx.graph import GraphIndex, OnnxNode
from bnfold.frontends.onnx.patterns import Computed, Number, OneOf, Op, Parameter, Pattern, Shared, find
from bnfold.refusal import Reason, Refusal
from bnfold.semantics import AffineMap, Commuting, Meaning, Opaque


@dataclass(frozen=True)
class Spelling:
    """An operator and how it is spelled out.

    Attributes:
        name: what runtimes call it.
        pattern: the expression.
        source: a runtime that puts it together, and where that is written.
        lets_maps_pass: whether maps may pass the factors that it is made of, which keep their constants.
    """

    name: str
    pattern: Pattern
    source: str
    lets_maps_pass: bool = False


def _op(name: str, *operands: Pattern) -> Op:
    return Op((name,), operands)


def _product(*factors: Pattern) -> Pattern:
    """Of two or three factors, in any order and grouping."""
    if len(factors) == 2:
        return _op("Mul", *factors)
    first, second, third = factors
    pairs = ((first, second, third), (first, third, second), (second, third, first))
    return OneOf(tuple(_op("Mul", _op("Mul", one, other), last) for one, other, last in pairs))


def _divided(pattern: Pattern, number: float) -> Pattern:
    return OneOf((_op("Div", pattern, Number(number)), _op("Mul", pattern, Number(1 / number))))


def _plus_one(pattern: Pattern) -> Pattern:
    return _op("Add", pattern, Number(1.0))


_SQUARE = OneOf((_op("Pow", "x", Number(2.0)), _op("Mul", "x", "x")))
_CUBE = OneOf((_op("Pow", "x", Number(3.0)), _op("Mul", _op("Mul", "x", "x"), "x")))
_ROOT = math.sqrt(2 / math.pi)
_TANH_ARGUMENT = OneOf(
    (
        _product(Number(_ROOT), _op("Add", "x", _op("Mul", _CUBE, Number(0.044715)))),
        _product("x", Number(_ROOT), _plus_one(_product("x", "x", Number(0.044715)))),
        _product("x", Number(_ROOT), _plus_one(_op("Mul", _SQUARE, Number(0.044715)))),
        _product("x", _op("Add", _op("Mul", _SQUARE, Number(0.044715 * _ROOT)), Number(_ROOT))),
    )
)
_CLIPPED = Op(("Clip",), (_op("Add", "x", Number(3.0)),), limits=(0.0, 6.0))
_RAMP = Op(("Clip",), (_op("Add", _op("Mul", "x", Number()), Number()),), limits=(0.0, 1.0))
_SOFTPLUS = _op("Log", _plus_one(_op("Exp", "x")))
_CENTRED = Shared("d", _op("Sub", "x", _op("ReduceMean", "x")))


def _normalised(what: Pattern) -> Pattern:
    """A tensor by the root of the mean of its squares."""
    square = OneOf((_op("Pow", what, Number(2.0)), _op("Mul", what, what)))
    root = _op("Sqrt", _op("Add", _op("ReduceMean", square), Number()))
    inverse = OneOf((_op("Reciprocal", root), _op("Div", Number(1.0), root)))
    return OneOf((_op("Div", what, root), _op("Mul", what, inverse)))


def _scaled(what: Pattern) -> Pattern:
    return OneOf((_op("Mul", what, Number()), _op("Div", what, Number())))


def _scaled_factor(factor: Pattern) -> Pattern:
    """A factor of the scores, scaled before or after it is transposed."""
    return OneOf((_scaled(factor), _op("Transpose", _scaled(factor))))


# A constant in place of a query or a key would be a weight, which takes the scale.
_QUERY, _KEY = Computed("q"), Computed("k")
_SCORES = OneOf(
    (
        _scaled(_op("MatMul", _QUERY, _KEY)),
        _op("MatMul", _scaled_factor(_QUERY), _scaled_factor(_KEY)),
        _op("MatMul", _scaled_factor(_QUERY), _KEY),
        _op("MatMul", _QUERY, _scaled_factor(_KEY)),
    )
)
_LENGTH = OneOf((_op("ReduceSum", _SQUARE), _op("ReduceSumSquare", "x")))

_ORT = "https://onnxruntime.ai/docs/performance/model-optimizations/graph-optimizations.html"
_OPENVINO = (
    "https://github.com/openvinotoolkit/openvino/tree/master/src/common/transformations/src/transformations/"
    "common_optimizations"
)

SPELLINGS: tuple[Spelling, ...] = (
    Spelling("Gelu", _product("x", Number(0.5), _plus_one(_op("Erf", _divided("x", math.sqrt(2))))), _ORT),
    Spelling("Gelu by Tanh", _product("x", Number(0.5), _plus_one(_op("Tanh", _TANH_ARGUMENT))), _ORT),
    Spelling("QuickGelu", _op("Mul", "x", _op("Sigmoid", _op("Mul", "x", Number()))), _ORT),
    Spelling("HardSwish", _divided(_op("Mul", "x", _CLIPPED), 6.0), _OPENVINO),
    Spelling("HardSwish", _op("Mul", "x", _divided(_CLIPPED, 6.0)), _OPENVINO),
    Spelling("HardSigmoid", _divided(_CLIPPED, 6.0), _OPENVINO),
    Spelling("HardSigmoid", _RAMP, _OPENVINO),
    Spelling("Mish", _op("Mul", "x", _op("Tanh", _SOFTPLUS)), _OPENVINO),
    Spelling("Softplus", _SOFTPLUS, _OPENVINO),
    Spelling("LayerNormalization", _normalised(_CENTRED), _ORT),
    Spelling("LayerNormalization", _op("Mul", _normalised(_CENTRED), Parameter()), _ORT),
    Spelling("LayerNormalization", _op("Add", _op("Mul", _normalised(_CENTRED), Parameter()), Parameter()), _ORT),
    Spelling("RMSNormalization", _op("Mul", _normalised("x"), Parameter()), _ORT),
    Spelling("L2 normalisation", _op("Div", "x", _op("Sqrt", _op("Add", _LENGTH, Number()))), _OPENVINO),
    Spelling("scaled attention", _op("Softmax", _SCORES), _ORT, lets_maps_pass=True),
    Spelling("scaled attention", _op("Softmax", _op("Add", _SCORES, "mask")), _ORT, lets_maps_pass=True),
)


@dataclass(frozen=True)
class Spelled:
    """The nodes of a model that hold constants of spelled-out operators.

    Attributes:
        fixed: nodes whose constant makes the operator what it is: it can take no map.
        free: nodes whose constant is a parameter of the operator: it can take a map, but must be there.
    """

    fixed: Mapping[OnnxNode, Spelling]
    free: Mapping[OnnxNode, Spelling]

    def meaning_of(self, node: OnnxNode, meaning: Meaning) -> Meaning:
        """What a node means if its constant is fixed: f(s * x + t) == s * f(x) + c * t passes f(x) = c * x.

        Args:
            node: a node of `fixed`.
            meaning: what it would mean otherwise.
        """
        spelling = self.fixed[node]
        if spelling.lets_maps_pass and isinstance(meaning, AffineMap):
            passed = multiplied_scores(meaning)
            if isinstance(passed, Commuting):
                return passed
        return Opaque(Reason.SPELLED_OUT, f"it is part of a spelled-out {spelling.name}")

    def why_it_stays(self, node: OnnxNode) -> Refusal | None:
        """Why a node of a spelling is not folded away; None for others."""
        spelling = self.fixed.get(node) or self.free.get(node)
        if spelling is None:
            return None
        return Refusal(Reason.SPELLED_OUT, f"it is part of a spelled-out {spelling.name}")


def find_spellings(index: GraphIndex, constants: OnnxConstants) -> Spelled:
    """All spellings of a model, as it is now.

    Args:
        index: of the model, shapes inferred.
        constants: of the model.
    """
    fixed: dict[OnnxNode, Spelling] = {}
    free: dict[OnnxNode, Spelling] = {}
    for node in index.nodes():
        result = node.outputs[0] if node.outputs else None
        if result is None or not node.is_standard:
            continue
        for spelling in _BY_LAST_OPERATOR.get(node.proto.op_type, ()):
            match = find(result, spelling.pattern, constants)
            if match is not None:
                fixed.update(dict.fromkeys(match.fixed, spelling))
                free.update(dict.fromkeys(match.free, spelling))
    return Spelled(fixed, free)


def _last_operators(pattern: Pattern) -> set[str]:
    if isinstance(pattern, OneOf):
        return set().union(*map(_last_operators, pattern.patterns))
    return set(pattern.types) if isinstance(pattern, Op) else set()


_BY_LAST_OPERATOR: dict[str, list[Spelling]] = {
    operator: [spelling for spelling in SPELLINGS if operator in _last_operators(spelling.pattern)]
    for operator in sorted(set().union(*(_last_operators(spelling.pattern) for spelling in SPELLINGS)))
}
