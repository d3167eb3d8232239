"""Convolutions and products with an activation, and another tensor that is added first, in one node."""

from collections.abc import Mapping
from dataclasses import replace

from bnfold.affine import Affine
from bnfold.errors import InternalError
from bnfold.refusal import Reason, Refusal
from bnfold.rules.commuting import pull_through_commuting
from bnfold.rules.contraction import absorb_input_into_contraction, absorb_output_into_contraction
from bnfold.rules.moves import Moved
from bnfold.semantics import Contraction, FusedContraction, Opaque


def absorb_output_into_fused_contraction(node: FusedContraction, affine: Affine) -> Moved | Refusal:
    """A map behind a fused contraction passes its activation and becomes part of its weight and bias.

    Before::  x, z -- f(contract(weight, bias) + z) -- affine(s, t) -- y
    After::   z -- scale s; x -- f(contract(weight', bias') + z) -- y
    Law:      s * f(W x + b + z) + t == f((s * W) x + (s * b + t') + s * z), where f(s * x + t') == s * f(x) + t
    Shapes:   W: (groups, outputs, inputs, *kernel); b: of the rank of y; z: of the shape of y; s, t:
              (groups * outputs,), one number for each channel of y
    Refuses:  NOT_LINEAR: no map passes the activation; what a contraction and what an activation refuse
    Source:   com.microsoft FusedConv-1, FusedGemm-1, NhwcFusedConv-1
    """
    if isinstance(node.activation, Opaque):
        return Refusal(node.activation.reason, node.activation.evidence)
    if node.activation is not None:
        passed = pull_through_commuting(node.activation, affine)
        if isinstance(passed, Refusal):
            return passed
        (affine,) = passed.requirements.values()
    contraction = _with(absorb_output_into_contraction(node.contraction, affine))
    if isinstance(contraction, Refusal):
        return contraction
    fused = replace(node, contraction=contraction)
    if node.addend is None or not affine.has_scale:
        return Moved(fused)
    return Moved(fused, {node.addend: affine.scale_alone()})


def absorb_input_into_fused_contraction(node: FusedContraction, inputs: Mapping[int, Affine]) -> Moved | Refusal:
    """A map in front of a fused contraction becomes part of its weight and bias, a shift on what is added of its bias.

    Before::  x -- affine(s, t); z -- shift u; f(contract(weight, bias) + z) -- y
    After::   x, z -- f(contract(weight', bias') + z) -- y
    Law:      f(W (s * x + t) + b + (z + u)) == f((W * s) x + (b + W t + u) + z)
    Shapes:   W: (groups, outputs, inputs, *kernel); s, t: (groups * inputs,), one number for each channel of x; u:
              (groups * outputs,), one for each channel of y; W t: likewise, summed over the inputs and the kernel
    Refuses:  OTHER_BRANCH: there is a scale on what is added; NOT_LINEAR: the map is on a parameter;
              what a contraction refuses
    Source:   com.microsoft FusedConv-1, FusedGemm-1, NhwcFusedConv-1
    """
    contraction = node.contraction
    for index, affine in inputs.items():
        if index == node.addend and affine.has_scale:
            return Refusal(Reason.OTHER_BRANCH, "what is added in the operator has a scale, and the product has not")
        if index not in (node.addend, node.source):
            return Refusal(Reason.NOT_LINEAR, "the operator reads the tensor as one of its parameters")
        absorb = absorb_output_into_contraction if index == node.addend else absorb_input_into_contraction
        moved = _with(absorb(contraction, affine))
        if isinstance(moved, Refusal):
            return moved
        contraction = moved
    return Moved(replace(node, contraction=contraction))


def _with(moved: Moved | Refusal) -> Contraction | Refusal:
    """What a contraction has become."""
    if isinstance(moved, Refusal):
        return moved
    if not isinstance(moved.meaning, Contraction):
        raise InternalError(f"a contraction became {type(moved.meaning).__name__}")
    return moved.meaning
