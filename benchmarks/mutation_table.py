"""The table of faults, as text and as Markdown."""

from collections import Counter
from collections.abc import Iterator, Sequence

from benchmarks.mutation_trial import OWN, Trial, missed
from tests.faults.catalogue import KINDS

Row = list[str]


def as_text(trials: Sequence[Trial]) -> Iterator[str]:
    """The table, then every miss, then what was left out and why."""
    rows = _rows(trials)
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        yield "  ".join(cells)
    yield ""
    yield from _summary(trials)
    for model, fault in missed(trials):
        yield f"missed  {model}: {fault.kind}: {fault.what}"
    for trial in trials:
        yield from _remarks(trial)


def as_markdown(trials: Sequence[Trial]) -> Iterator[str]:
    """The table and the sums."""
    head, *rows = _rows(trials)
    yield _line(head)
    yield _line(["---", *("--:" for _ in head[1:])])
    for row in rows:
        yield _line(row)
    yield ""
    yield from _summary(trials)


def _rows(trials: Sequence[Trial]) -> list[Row]:
    others = [name for name in _checkers(trials) if name != OWN]
    head = ["fault", "injected", "caught by bnfold", "missed", *(f"caught by {name}" for name in others)]
    body = [_row(kind, trials, [kind], others) for kind in KINDS]
    return [head, *body, _row("all", trials, list(KINDS), others)]


def _row(title: str, trials: Sequence[Trial], kinds: Sequence[str], others: Sequence[str]) -> Row:
    injected: int = 0
    caught: Counter[str] = Counter()
    usable: Counter[str] = Counter()
    for trial in trials:
        for fault in trial.faults:
            if fault.kind not in kinds:
                continue
            injected += 1
            for name, verdict in fault.verdicts.items():
                if name == OWN or not trial.on_correct[name]:
                    usable[name] += 1
                    caught[name] += bool(verdict)
    cells = [f"{caught[name]} of {usable[name]}" if usable[name] != injected else str(caught[name]) for name in others]
    return [title, str(injected), str(caught[OWN]), str(injected - caught[OWN]), *cells]


def _summary(trials: Sequence[Trial]) -> Iterator[str]:
    tried = [trial for trial in trials if not trial.left_out]
    rejected = sum(sum(trial.rejected.values()) for trial in tried)
    yield f"{len(tried)} models; {rejected} mutations were rejected, because they move no number by more than rounding."
    for name in _checkers(tried):
        wrong = [trial.model for trial in tried if trial.on_correct[name]]
        if wrong and name == OWN:
            yield f"{name} called the correct fold wrong: {', '.join(wrong)}."
        elif wrong:
            yield f"{name} is not counted where it calls the correct fold wrong, or fails: {', '.join(wrong)}."
    checks = sum(trial.correct_seeds for trial in tried)
    if checks:
        yield f"Correct folds called wrong: {sum(len(trial.called_wrong) for trial in tried)} of {checks} checks."


def _remarks(trial: Trial) -> Iterator[str]:
    if trial.left_out:
        yield f"left out  {trial.model}: {trial.left_out}"
    for name, verdict in trial.on_correct.items():
        if verdict:
            yield f"wrong verdict  {trial.model}: {name} on the correct fold: {verdict}"
    for seed, problem in trial.called_wrong.items():
        yield f"wrong verdict  {trial.model}: seed {seed} on the correct fold: {problem}"
    for kind, reason in trial.absent.items():
        yield f"does not apply  {trial.model}: {kind}: {reason}"


def _checkers(trials: Sequence[Trial]) -> list[str]:
    return list(dict.fromkeys(name for trial in trials for name in trial.on_correct))


def _line(cells: Row) -> str:
    return f"| {' | '.join(cells)} |"
