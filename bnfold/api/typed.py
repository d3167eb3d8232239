"""What mypy and editors see of keyword arguments, and what `help` shows of them."""

import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, Field, fields
from typing import Any, Literal, TypedDict, TypeVar

import numpy.typing as npt

from bnfold.outcome import LowerTo
from bnfold.timings import BenchOptions
from bnfold.verification import VerifyOptions

Function = TypeVar("Function", bound=Callable[..., Any])


class FoldKeywords(TypedDict, total=False):
    """The fields of FoldOptions, but for `to`, on which the type of the result depends."""

    affine: bool
    merge_branches: bool
    across: bool
    lower: LowerTo | Literal[""]
    exclude: Sequence[str]
    assume_inference: bool
    keep_overridable: bool
    freeze_initializers: bool
    verify: VerifyOptions | bool | None
    on_mismatch: Literal["fail", "revert"]
    shapes: Mapping[str, tuple[int, ...]]
    imports: Sequence[str]
    bench: BenchOptions | bool | None
    save_repro: str | os.PathLike[str] | None
    digests: bool


class FileKeywords(FoldKeywords, total=False):
    """The fields of FoldOptions."""

    to: Literal["", "onnx"]


class VerifyKeywords(TypedDict, total=False):
    """The fields of VerifyOptions."""

    samples: int
    seed: int
    rtol: float | None
    atol: float | None
    shapes: Mapping[str, tuple[int, ...]]
    dims: Mapping[str, int]
    inputs: Mapping[str, npt.NDArray[Any]]
    probe: bool
    same_names: bool
    memory: int
    custom_ops: tuple[str, ...]
    provider: str


def with_keywords_of(options: type[Any]) -> Callable[[Function], Function]:
    """Let `help` and completion show the fields of a dataclass in place of **options.

    Args:
        options: the dataclass.
    """

    def shown(function: Function) -> Function:
        signature = inspect.signature(function)
        own = [entry for entry in signature.parameters.values() if entry.kind is not entry.VAR_KEYWORD]
        parameters = [*own, *map(_parameter, fields(options))]
        function.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
        return function

    return shown


def _parameter(field: Field[Any]) -> inspect.Parameter:
    default = field.default if field.default_factory is MISSING else field.default_factory()
    return inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=field.type)
