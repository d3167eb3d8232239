"""What one run did to one model: the values that text, JSON and HTML are made from."""

from dataclasses import dataclass
from typing import Literal

from bnfold.outcome import Change as Change
from bnfold.outcome import Outcome
from bnfold.timings import Latency
from bnfold.verification import Verification

FormatName = Literal["onnx", "torchscript", "torch_export"]


@dataclass(frozen=True)
class Seconds:
    """Wall-clock time of each stage, in seconds; 0 for a stage that did not run."""

    load: float
    plan: float
    apply: float
    verify: float
    save: float
    bench: float = 0.0


@dataclass(frozen=True)
class Tally:
    """How many nodes of one kind were found, and what became of them.

    Attributes:
        folded: those that are gone.
        kept: those that stay.
        identities: those of the folded ones that changed nothing, such as x * 1 and x + 0, and went nowhere.
        lowered: those that other operators stand for.
    """

    folded: int
    kept: int
    identities: int = 0
    lowered: int = 0

    @property
    def found(self) -> int:
        """All of them."""
        return self.folded + self.kept + self.lowered


@dataclass(frozen=True)
class Failure:
    """A model of which there is nothing to report, because it could not be read or written.

    Attributes:
        input: path of the model.
        exit_code: what the command would have answered for this model alone.
        message: one line that says why.
    """

    input: str
    exit_code: int
    message: str


@dataclass(frozen=True)
class Digest:
    """One file by its content.

    Attributes:
        name: of the file, without its folder.
        bytes: its size.
        sha256: of its content, in hexadecimal digits.
    """

    name: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Environment:
    """What a result depends on besides the model.

    Attributes:
        versions: of bnfold, Python and the libraries that had a part in it, by their names.
        options: of the fold and its check, by their names in the API, as text.
        opsets: that the model imports, by their domains; none of a program of PyTorch.
        read: the files of the model; none where nobody asked for them, or it was in memory.
        written: the files of the result; likewise, and none where nothing was written.
    """

    versions: tuple[tuple[str, str], ...]
    options: tuple[tuple[str, str], ...]
    opsets: tuple[tuple[str, int], ...] = ()
    read: tuple[Digest, ...] = ()
    written: tuple[Digest, ...] = ()


@dataclass(frozen=True)
class ReportData:
    """What one run did to one model.

    Attributes:
        input: path of the model.
        output: path of the file that was written, or None where nothing was: a dry run or a failed check.
        format: what kind of file the model is.
        outcome: every affine node, folded or kept.
        nodes: how many nodes the model has, those of bodies and local functions included.
        parameters: how many numbers its weights hold.
        bytes: size of the file and its external data, in bytes.
        verification: the verdict of the check.
        seconds: where the time went.
        read_as_inference: whether the original says training, and was read, folded and compared as an inference model
            because the caller asked for that.
        overridable_initializers: how many initializers of the result are graph inputs as well. Callers may replace
            them, and so onnxruntime does not optimise with them.
        warnings: what is right about the model, but not around it, such as data files that nothing reads any more.
        environment: versions, options and files.
        planned: whether this says what would be folded, and there is no folded model.
    """

    input: str
    output: str | None
    format: FormatName
    outcome: Outcome
    nodes: Change
    parameters: Change
    bytes: Change
    verification: Verification
    seconds: Seconds
    read_as_inference: bool = False
    overridable_initializers: int = 0
    warnings: tuple[str, ...] = ()
    environment: Environment | None = None
    planned: bool = False
    latencies: tuple[Latency, ...] = ()

    @property
    def summary(self) -> str:
        """What became of the BatchNorms, in one line."""
        tally = self.batch_norms
        if self.planned:
            return f"{tally.folded} of {tally.found} BatchNorms would be folded, a plan"
        return f"{tally.folded} of {tally.found} BatchNorms folded, check {self.verification.status}"

    @property
    def is_done(self) -> bool:
        """Whether there is a folded model: not where this is a plan, or where the check was against it."""
        return not self.planned and self.verification.status not in ("failed", "unchecked")

    @property
    def batch_norms(self) -> Tally:
        """The BatchNorms."""
        return self._tally(batch_norms=True)

    @property
    def affine_nodes(self) -> Tally:
        """The other affine nodes: Mul, Add, Sub and Div by a constant."""
        return self._tally(batch_norms=False)

    def _tally(self, *, batch_norms: bool) -> Tally:
        folds = [fold for fold in self.outcome.folds if fold.is_batch_norm is batch_norms]
        return Tally(
            folded=len(folds),
            kept=sum(kept.is_batch_norm is batch_norms for kept in self.outcome.kept),
            identities=sum(fold.is_identity for fold in folds),
            lowered=len(self.outcome.lowered) if batch_norms else 0,
        )
