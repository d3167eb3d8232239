"""What a run over many seeds saw: counts that show the run was not vacuous, and every finding."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import onnx

from bnfold.outcome import Outcome
from tests.differential import compare, generator, streams
from tests.differential.compare import Examination, UnusableModelError


@dataclass(frozen=True)
class Finding:
    """A seed whose fold is wrong, invalid, crashed, longer or worse."""

    seed: int
    kind: str
    evidence: str


@dataclass
class Tally:
    """Sums over seeds.

    Attributes:
        graphs: that were examined.
        unusable: seeds whose own model could not be judged, with the reason.
        folded_graphs: with at least one fold, by direction; "upstream and downstream" counts graphs with one of each.
        batch_norms: found and folded.
        folds: of all affine nodes, by direction.
        passed: maps that went through an operator, by its type.
        absorbed: maps that ended in an operator, by its type.
        compared: tensors that stand in both models.
        steps: those among them behind a quantizer that rounds a number the other way.
        judged: outputs whose error was compared with that of plain folding.
        findings: all of them.
    """

    graphs: int = 0
    unusable: dict[int, str] = field(default_factory=dict)
    folded_graphs: Counter[str] = field(default_factory=Counter)
    batch_norms: Counter[str] = field(default_factory=Counter)
    folds: Counter[str] = field(default_factory=Counter)
    passed: Counter[str] = field(default_factory=Counter)
    absorbed: Counter[str] = field(default_factory=Counter)
    compared: int = 0
    steps: int = 0
    judged: int = 0
    findings: list[Finding] = field(default_factory=list)

    def add(self, seed: int, model: onnx.ModelProto, examination: Examination) -> None:
        self.graphs += 1
        self.compared += examination.compared
        self.steps += examination.steps
        self.judged += examination.judged
        if examination.kind:
            self.findings.append(Finding(seed, examination.kind, examination.evidence))
        if examination.outcome is not None:
            self._add_outcome(model, examination.outcome)

    def _add_outcome(self, model: onnx.ModelProto, outcome: Outcome) -> None:
        types = {node.name or next(iter(node.output)): node.op_type for node in model.graph.node}
        directions = {fold.direction for fold in outcome.folds}
        self.folded_graphs.update(directions)
        self.folded_graphs["upstream and downstream"] += {"upstream", "downstream"} <= directions
        for fold in outcome.folds:
            self.folds[fold.direction] += 1
            self.passed.update(types[label] for label in fold.through if label in types)
            self.absorbed.update(types[label] for label in fold.into if label in types)
        folded = sum(fold.is_batch_norm for fold in outcome.folds)
        self.batch_norms["folded"] += folded
        self.batch_norms["found"] += folded + sum(entry.is_batch_norm for entry in outcome.kept)

    def merge(self, other: "Tally") -> None:
        self.graphs += other.graphs
        self.compared += other.compared
        self.steps += other.steps
        self.judged += other.judged
        self.unusable |= other.unusable
        self.findings += other.findings
        for mine, theirs in zip(self._counters(), other._counters(), strict=True):
            mine.update(theirs)

    def _counters(self) -> list[Counter[str]]:
        return [self.folded_graphs, self.batch_norms, self.folds, self.passed, self.absorbed]


@dataclass(frozen=True)
class Kind:
    """A kind of random graphs.

    Attributes:
        generate: the graph of a seed.
        examine: folds it and compares; raises UnusableModelError.
    """

    generate: Callable[[int], onnx.ModelProto]
    examine: Callable[[onnx.ModelProto, int], Examination]


ANY = Kind(generator.generate, compare.examine)
STREAMS = Kind(streams.generate, streams.examine_stream)


def examine_seeds(seeds: Iterable[int], kind: Kind = ANY) -> Tally:
    """Generate, fold and compare the graph of every seed."""
    tally = Tally()
    for seed in seeds:
        model = kind.generate(seed)
        try:
            tally.add(seed, model, kind.examine(model, seed))
        except UnusableModelError as error:
            tally.unusable[seed] = str(error)
    return tally
