"""What the signatures of decoders and encoders say, so that no list beside them has to say it again."""

from collections.abc import Callable
from functools import cache
from inspect import get_annotations
from typing import Any, get_args

from bnfold.semantics import AffineMap


@cache
def kinds_decoded(decode: Callable[..., object]) -> frozenset[type]:
    """The kinds of meaning that a decoder returns, as its annotation says."""
    return _members(get_annotations(decode).get("return"))


@cache
def kinds_encoded(encode: Callable[..., object]) -> frozenset[type]:
    """The kinds of meaning that an encoder takes, as the annotation of its parameter `meaning` says."""
    return _members(get_annotations(encode).get("meaning"))


def may_be_affine(decode: Callable[..., object] | None) -> bool:
    """Whether an operator with this decoder, or with none, can be an affine map."""
    return decode is not None and AffineMap in kinds_decoded(decode)


def _members(annotation: Any) -> frozenset[type]:  # noqa: ANN401 - a class, or a union of some
    return frozenset(get_args(annotation) or (annotation,))
