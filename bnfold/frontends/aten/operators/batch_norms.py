"""Batch normalisation, and instance normalisation that keeps statistics, read as affine maps and written back."""

import numpy as np

from bnfold.errors import InternalError
from bnfold.frontends.aten.constants import numpy_dtype
from bnfold.frontends.aten.edit import AtenEdit
from bnfold.frontends.aten.operators.accepted_shapes import Takes, accepted_by_norm_of_channels
from bnfold.frontends.aten.operators.call import AtenCall
from bnfold.frontends.aten.operators.family import AtenFamily
from bnfold.frontends.aten.operators.norms import NORM_OF_CHANNELS, encode_norm_of_channels, norm_of_channels
from bnfold.frontends.aten.operators.parameters import edit_of, rounded, type_of
from bnfold.frontends.aten.operators.row import Keeps
from bnfold.frontends.common.batch_norms import (
    moved_statistic,
    read_batch_norm,
    require_channels,
    require_vectors,
    scale_and_bias,
)
from bnfold.frontends.common.undecodable import Undecodable, if_meant_for_inference
from bnfold.refusal import Reason, Refusal
from bnfold.semantics import AffineMap, Normalisation

FAMILY = AtenFamily()
_TAKES = Takes("input", "running_mean", accepted_by_norm_of_channels)


def encode_batch_norm(call: AtenCall, meaning: AffineMap | Normalisation) -> AtenEdit | Refusal:
    """With statistics that it keeps, weight and bias take the change; else it is an instance normalisation."""
    return (
        _encode_statistics(call, meaning) if isinstance(meaning, AffineMap) else encode_norm_of_channels(call, meaning)
    )


@FAMILY.operator(
    "instance_norm", encode=encode_batch_norm, trains_by="use_input_stats", keeps=Keeps.ALL, takes=NORM_OF_CHANNELS
)
def decode_instance_norm(call: AtenCall) -> Normalisation | AffineMap:
    """With running statistics it is what a BatchNorm is. Source: torch.nn.functional.instance_norm."""
    if not call.fixed("use_input_stats"):
        return _decode_statistics(call)
    return norm_of_channels(call)


@FAMILY.operator(
    "batch_norm",
    "cudnn_batch_norm",
    "miopen_batch_norm",
    "native_batch_norm",
    encode=encode_batch_norm,
    is_batch_norm=True,
    trains_by="training",
    keeps=Keeps.ALL,
    takes=_TAKES,
)
@FAMILY.operator(
    "_native_batch_norm_legit",
    "_native_batch_norm_legit_functional",
    encode=encode_batch_norm,
    is_batch_norm=True,
    keeps=Keeps.ALL,
    takes=_TAKES,
)
def decode_batch_norm(call: AtenCall) -> Normalisation | AffineMap:
    """A BatchNorm, which a flag may let train, or the middle of a decomposed instance normalisation.

    Weight and bias may be absent; without statistics, it always takes those of the batch.

    Source: torch.nn.functional.batch_norm; aten/src/ATen/native/native_functions.yaml
    """
    if call.node.normalises_instances and not _has_statistics(call):
        return norm_of_channels(call)
    if call.fixed("training") or not _has_statistics(call):
        return decode_training_batch_norm(call)
    return decode_inference_batch_norm(call)


def _encode_statistics(call: AtenCall, meaning: AffineMap) -> AtenEdit | Refusal:
    """Mean and variance are those of what the input holds; weight and bias take the rest of the change."""
    mean, variance = (
        call.parameter(name, dynamic=Reason.DYNAMIC_PARAMETER) for name in ("running_mean", "running_var")
    )
    known = meaning.statistics
    dtypes = [numpy_dtype(type_of(call, name)) for name in ("running_mean", "running_var")]
    new_mean = moved_statistic(None if known is None else known.mean, mean, dtypes[0])
    new_variance = moved_statistic(None if known is None else known.variance, variance, dtypes[1])
    mean = mean if new_mean is None else new_mean.exact
    variance = variance if new_variance is None else new_variance.exact
    vectors = meaning.affine.along(1)
    if vectors is None:
        raise InternalError(f"a map over several axes was to go into {call.node.label!r}")
    gamma, beta = scale_and_bias(vectors, mean, variance, _epsilon(call))
    dtype = type_of(call, "weight", "bias", "running_mean")
    return edit_of(
        call,
        {
            ("weight", None): rounded(gamma, dtype),
            ("bias", None): rounded(beta, dtype),
            ("running_mean", None): new_mean,
            ("running_var", None): new_variance,
        },
    )


@FAMILY.operator(
    "_batch_norm_with_update",
    "_batch_norm_with_update_functional",
    is_batch_norm=True,
    keeps=Keeps.ALL,
    takes=_TAKES,
)
def decode_training_batch_norm(call: AtenCall) -> AffineMap:
    """A batch_norm that takes its statistics from the batch is no affine map."""
    if _statistics_are_used(call):
        raise Undecodable(Reason.TRAINING_MODE, "it takes its statistics from the batch, and they are used")
    if not _has_statistics(call):
        raise Undecodable(Reason.TRAINING_MODE, "it keeps no statistics, and always takes those of the batch")
    raise Undecodable(Reason.TRAINING_MODE, "it takes its statistics from the batch", if_meant_for_inference())


@FAMILY.operator(
    "_native_batch_norm_legit_no_training",
    "_batch_norm_no_update",
    encode=_encode_statistics,
    is_batch_norm=True,
    keeps=Keeps.ALL,
    takes=_TAKES,
)
def decode_inference_batch_norm(call: AtenCall) -> AffineMap:
    """A batch_norm that uses the statistics that it keeps."""
    if _statistics_are_used(call):
        raise Undecodable(Reason.STATISTICS_OUTPUTS, "its statistics are used")
    return _decode_statistics(call)


def _decode_statistics(call: AtenCall) -> AffineMap:
    """What a norm with running statistics computes in inference."""
    shape = call.shape("input")
    require_channels(shape)
    mean, variance = (
        call.parameter(name, dynamic=Reason.DYNAMIC_PARAMETER) for name in ("running_mean", "running_var")
    )
    gamma = call.optional_parameter("weight", dynamic=Reason.DYNAMIC_PARAMETER)
    beta = call.optional_parameter("bias", dynamic=Reason.DYNAMIC_PARAMETER)
    gamma = np.ones_like(mean) if gamma is None else gamma
    beta = np.zeros_like(mean) if beta is None else beta
    require_vectors(gamma, beta, mean, variance)
    return read_batch_norm(gamma, beta, mean, variance, _epsilon(call), shape)


def _epsilon(call: AtenCall) -> float:
    """What keeps the variance from zero; the cudnn and miopen forms have another name for it."""
    return float(call.fixed("eps" if "eps" in call.node.arguments else "epsilon"))


def _statistics_are_used(call: AtenCall) -> bool:
    return any(value.readers or value.is_output for value in call.node.outputs[1:] if value is not None)


def _has_statistics(call: AtenCall) -> bool:
    """Whether it keeps statistics."""
    return call.has("running_mean") and call.has("running_var")
