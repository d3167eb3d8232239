"""All that was compared, as one verdict."""

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from bnfold.keywords import keyword
from bnfold.verification import OutputCheck, TensorCheck, Verification, VerifyOptions

if TYPE_CHECKING:
    from bnfold.verifier.compare.statistics import OutputStatistics
    from bnfold.verifier.run.comparison_run import ComparisonRun


def failed(options: VerifyOptions, problem: str) -> Verification:
    """A check that ended before anything was measured."""
    return Verification(status="failed", samples=0, seed=options.seed, problem=problem)


def put_together(
    run: "ComparisonRun",
    statistics: "Sequence[OutputStatistics]",
    tensors: Sequence[TensorCheck],
    options: VerifyOptions,
    *,
    compared_alone: bool,
) -> Verification:
    """The verdict, but for the deployment.

    Args:
        run: all samples.
        statistics: of each output.
        tensors: the changed tensors.
        options: of the check.
        compared_alone: whether changed tensors were to be compared by themselves.
    """
    whole = sum(tensor.passed and math.isnan(tensor.excess) for tensor in tensors) if compared_alone else 0
    alone = [f"{whole} of {len(tensors)} changed tensors were compared on the samples only"] if whole else []
    return verdict_on(run.count, statistics, tensors, options, run.left_out, alone)


def verdict_on(
    samples: int,
    statistics: "Sequence[OutputStatistics]",
    tensors: Sequence[TensorCheck],
    options: VerifyOptions,
    left_out: Iterable[str],
    notes: Sequence[str],
) -> Verification:
    """The verdict on samples and changed tensors.

    Args:
        samples: how many were compared.
        statistics: of each output.
        tensors: the changed tensors.
        options: of the check.
        left_out: samples that were not compared, and why.
        notes: what else weakens the evidence.
    """
    wrong = [result for entry in statistics if not (result := entry.result()).passed]
    undecided = {entry.name for entry in statistics if entry.is_undecided}
    wrong.sort(key=lambda output: output.name in undecided)  # what is known first
    problem = _summary(wrong, tensors) if samples else "the original refused every sample"
    differs = not all(tensor.passed for tensor in tensors) or any(entry.differs for entry in statistics)
    way_out = f"give real samples with {keyword('VerifyOptions.inputs')}"
    weak = f"weak evidence: no output of the original ever varied: {way_out}"
    said = [*filter(None, (entry.warning for entry in statistics)), *notes]
    return Verification(
        status="failed" if differs else "unchecked" if problem else "passed",
        samples=samples,
        seed=options.seed,
        outputs=tuple(entry.result() for entry in statistics),
        tensors=tuple(tensors),
        problem=problem,
        warnings=(*left_out, *said, *([] if any(entry.varies for entry in statistics) else [weak])),
    )


def _summary(wrong: Sequence[OutputCheck], tensors: Sequence[TensorCheck]) -> str:
    """The first place where the models part, or the first output that differs."""
    parted = [tensor for tensor in tensors if not tensor.passed]
    if parted:
        others = f" (and {len(parted) - 1} more tensors)" if len(parted) > 1 else ""
        return f"tensor {parted[0].name!r}: {parted[0].problem}{others}"
    if not wrong:
        return ""
    others = f" (and {len(wrong) - 1} more outputs)" if len(wrong) > 1 else ""
    return f"{_called(wrong[0].name)}: {wrong[0].problem}{others}"


def _called(name: str) -> str:
    """How messages call an output, or what a call of a program wrote to."""
    return repr(name) if name.startswith(("state ", "input ")) else f"output {name!r}"
