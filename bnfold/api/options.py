"""What the caller may ask of a fold."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from difflib import get_close_matches
from typing import Any, Literal, get_args

from bnfold.errors import UsageError
from bnfold.kinds import FLAG, PATH_OR_NONE, SHAPES, TEXTS, check_kinds
from bnfold.outcome import LowerTo
from bnfold.timings import BenchOptions
from bnfold.verification import VerifyOptions

IN_MEMORY = "<memory>"


_FLAGS = (
    "affine",
    "merge_branches",
    "across",
    "assume_inference",
    "keep_overridable",
    "freeze_initializers",
    "digests",
)
_KINDS = {
    **dict.fromkeys(_FLAGS, FLAG),
    **dict.fromkeys(("exclude", "imports"), TEXTS),
    "shapes": SHAPES,
    "save_repro": PATH_OR_NONE,
}


@dataclass(frozen=True)
class FoldOptions:
    """What to fold and how to check it.

    Attributes:
        affine: fold Mul, Add, Sub and Div by constants as well, not BatchNorms alone.
        merge_branches: merge parallel branches that are linear in one tensor into one operator.
        across: fold BatchNorms across tensors that others read; those readers take the inverse.
        lower: what to rewrite BatchNorms into that stay: "conv" for a depthwise convolution, "affine" for a Mul and an
            Add, "add" for an Add where the scale finds another place; "" leaves them.
        exclude: glob patterns of node names to leave alone.
        assume_inference: treat BatchNorms with training_mode=1 as inference ones.
        keep_overridable: leave parameters alone that are also graph inputs.
        freeze_initializers: take initializers of ONNX models off the graph inputs, so that runtimes can optimise with
            them; from IR version 4 on, before which they are constants anyway.
        verify: how to check the result; True as VerifyOptions() says, False (and None) not at all.
        on_mismatch: what to do if the check fails: "fail" gives nothing, "revert" drops the folds that are to blame and
            keeps the rest.
        shapes: full shapes of inputs, by name, for the check, and for the folding of TorchScript, which says none. What
            `verify` says of shapes comes first.
        imports: packages to import before a program of PyTorch is read; it may use what they register beside
            torch's own operators and classes, and nothing else.
        to: "onnx" to get a program of PyTorch as an ONNX model, exported after folding; "" for the model's own format.
        bench: time the model before and after: True as BenchOptions() says, None (and False) not at all.
        save_repro: a folder that is not there or empty: where the check fails, what shows the difference is put there,
            with a script that needs no bnfold. None saves nothing.
        digests: let the report name the files of the model and of the result by their SHA-256.
    """

    affine: bool = True
    merge_branches: bool = True
    across: bool = True
    lower: LowerTo | Literal[""] = ""
    exclude: tuple[str, ...] = ()
    assume_inference: bool = False
    keep_overridable: bool = False
    freeze_initializers: bool = False
    verify: VerifyOptions | bool | None = True
    on_mismatch: Literal["fail", "revert"] = "fail"
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    imports: tuple[str, ...] = ()
    to: Literal["", "onnx"] = ""
    bench: BenchOptions | bool | None = None
    save_repro: str | os.PathLike[str] | None = None
    digests: bool = False

    @property
    def check(self) -> VerifyOptions | None:
        """How to check the result; None not to."""
        if not isinstance(self.verify, VerifyOptions):
            return None
        return replace(self.verify, shapes={**self.shapes, **self.verify.shapes}) if self.shapes else self.verify

    @property
    def timing(self) -> BenchOptions | None:
        """How to time the model before and after; None not to."""
        return self.bench if isinstance(self.bench, BenchOptions) else None

    @property
    def feeding(self) -> VerifyOptions:
        """What a program is run on: what the check would feed it."""
        return self.check or VerifyOptions(shapes=self.shapes)

    def __post_init__(self) -> None:
        if not isinstance(self.verify, VerifyOptions | bool | None):
            raise UsageError(f"verify must be True, False or VerifyOptions, got {self.verify!r}")
        if isinstance(self.verify, bool):
            object.__setattr__(self, "verify", VerifyOptions() if self.verify else None)
        if not isinstance(self.bench, BenchOptions | bool | None):
            raise UsageError(f"bench must be True, False or BenchOptions, got {self.bench!r}")
        if isinstance(self.bench, bool):
            object.__setattr__(self, "bench", BenchOptions() if self.bench else None)
        check_kinds(self, _KINDS)
        if self.keep_overridable and self.freeze_initializers:
            raise UsageError("keep_overridable and freeze_initializers contradict each other: give one of them")
        self._require_known_words()

    def _require_known_words(self) -> None:
        if self.on_mismatch not in ("fail", "revert"):
            raise UsageError(f"on_mismatch must be 'fail' or 'revert', got {self.on_mismatch!r}")
        if self.lower not in ("", *get_args(LowerTo)):
            raise UsageError(f"lower must be 'conv', 'affine', 'add' or nothing, got {self.lower!r}")
        if self.to not in ("", "onnx"):
            raise UsageError(f"to must be 'onnx' or nothing, got {self.to!r}")


def parse_options(given: Mapping[str, Any]) -> FoldOptions:
    """Keyword arguments as options.

    Raises:
        UsageError: one is unknown.
    """
    _require_known(given, FoldOptions)
    return FoldOptions(**given)


def parse_verify_options(given: Mapping[str, Any]) -> VerifyOptions:
    """Keyword arguments as options of a check.

    Raises:
        UsageError: one is unknown, or a number is out of its range.
    """
    _require_known(given, VerifyOptions)
    return VerifyOptions(**given)


def _require_known(given: Mapping[str, Any], kind: type[FoldOptions] | type[VerifyOptions]) -> None:
    known = [entry.name for entry in fields(kind)]
    unknown = next((name for name in given if name not in known), None)
    if unknown is None:
        return
    if unknown in [entry.name for entry in fields(VerifyOptions)]:
        raise UsageError(
            f"unknown option {unknown!r}: it is one of the check, give verify=VerifyOptions({unknown}=...)"
        )
    alike = get_close_matches(unknown, known, n=1)
    meant = f"did you mean {alike[0]!r}?" if alike else f"expected one of {', '.join(known)}"
    raise UsageError(f"unknown option {unknown!r}: {meant}")
