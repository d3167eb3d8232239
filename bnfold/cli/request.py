"""What a command line asks for, parsed but not yet looked up in the file system."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bnfold.timings import BenchOptions


@dataclass(frozen=True)
class CheckRequest:
    """How to check a folded model: bnfold.verifier.VerifyOptions, with samples that are still files."""

    samples: int
    seed: int
    rtol: float | None
    atol: float | None
    shapes: Mapping[str, tuple[int, ...]]
    dims: Mapping[str, int]
    inputs: Mapping[str, Path]
    provider: str
    memory: int
    custom_ops: tuple[str, ...] = ()
    probe: bool = True
    same_names: bool = True


@dataclass(frozen=True)
class Request:
    """One call of the command.

    Attributes:
        models: paths to fold, at least one.
        output: a file for one model, a folder for several, as it was typed; None for a file beside each model.
        in_place: whether a model may be written over.
        dry_run: write no model.
        reports: files to write reports to, by their ending .json or .html.
        check: how to check the result, or None not to.
        bench: how to time the model before and after, or None not to.
        shapes: of inputs, by name, also where nothing is checked.
        exclude: glob patterns of node names to leave alone.
        imports: packages to import before a program of PyTorch is read.
        on_mismatch: what to do if the check fails, "fail" or "revert".
        save_repro: a folder for what differs then; of several models, one for each inside of it. None saves nothing.
        affine: fold Mul, Add, Sub and Div by constants as well.
        merge_branches: merge parallel branches into one operator.
        across: fold BatchNorms across tensors that others read.
        lower: what to rewrite BatchNorms into that stay, None to leave them.
        assume_inference: treat BatchNorms with training_mode=1 as inference ones.
        keep_overridable: leave parameters alone that are also graph inputs.
        freeze_initializers: take initializers off the inputs of ONNX graphs.
        to: "onnx" to write ONNX whatever the model is, None for its own format.
        time_limit: seconds of processor time for one step; None for what suits the size of the model.
        memory_limit: bytes; None for what suits the size of the model.
        jobs: how many models to fold at a time.
        fail_on_kept: whether a BatchNorm that stays is a failure.
        max_kept: how many may stay; None for any number, or none with `fail_on_kept`.
        allow_kept: glob patterns of names of BatchNorms that may stay beside these.
        annotate: whether to print annotations for GitHub; None where its runners run the call.
        configuration: what is told of the file that has defaults of options.
        quiet: print no results.
        verbose: print every node, and tracebacks of bugs.
    """

    models: tuple[Path, ...]
    output: str | None
    in_place: bool
    dry_run: bool
    reports: tuple[Path, ...]
    check: CheckRequest | None
    bench: BenchOptions | None
    shapes: Mapping[str, tuple[int, ...]]
    exclude: tuple[str, ...]
    imports: tuple[str, ...]
    on_mismatch: Literal["fail", "revert"]
    save_repro: Path | None
    affine: bool
    merge_branches: bool
    across: bool
    lower: Literal["conv", "affine", "add"] | None
    assume_inference: bool
    keep_overridable: bool
    freeze_initializers: bool
    to: str | None
    time_limit: float | None
    memory_limit: int | None
    jobs: int
    fail_on_kept: bool
    max_kept: int | None
    allow_kept: tuple[str, ...]
    annotate: bool | None
    configuration: tuple[str, ...]
    quiet: bool
    verbose: bool


@dataclass(frozen=True)
class VerifyRequest:
    """One call of `bnfold verify`.

    Attributes:
        a: the reference.
        b: the model to judge.
        check: how to compare them.
        save_repro: a folder for what differs; None saves nothing.
        imports, time_limit, memory_limit, configuration, quiet, verbose: as of a `Request`.
    """

    a: Path
    b: Path
    check: CheckRequest
    save_repro: Path | None
    imports: tuple[str, ...]
    time_limit: float | None
    memory_limit: int | None
    configuration: tuple[str, ...]
    quiet: bool
    verbose: bool
