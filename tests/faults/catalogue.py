"""Every kind of fault, and how one is injected."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx

from bnfold.outcome import Fold, Kept
from tests.faults import elsewhere, folding, stored
from tests.faults.edits import NoFault, NotHere, Wrong, written
from tests.faults.padding import shift_at_the_padding
from tests.faults.sites import Site, Subject

Kind = Callable[[Subject, Fold | Kept, np.random.Generator], Wrong | NotHere]


def _at_an_operator(fault: Callable[[Site, np.random.Generator], Wrong | NotHere]) -> Kind:
    """A kind for one of the operators that took the fold."""

    def kind(subject: Subject, target: Fold | Kept, random: np.random.Generator) -> Wrong | NotHere:
        if isinstance(target, Kept):
            return NotHere("not folded")
        sites = subject.sites(target)
        if not sites:
            return NotHere("no operator with weights took it")
        return fault(sites[int(random.integers(len(sites)))], random)

    return kind


KINDS: dict[str, Kind] = {
    "one channel's weight by 1 %": _at_an_operator(stored.weight_by_one_percent),
    "one channel's bias by 1 %": _at_an_operator(stored.bias_by_one_percent),
    "one number of the weight by 0.01 %": _at_an_operator(stored.one_tap_off),
    "two channels' biases exchanged": _at_an_operator(stored.biases_exchanged),
    "two channels swapped": _at_an_operator(stored.channels_swapped),
    "sign flipped": _at_an_operator(stored.sign_flipped),
    "sign of one channel's scale lost": _at_an_operator(folding.sign_lost),
    "bias dropped": _at_an_operator(stored.bias_dropped),
    "eps forgotten": _at_an_operator(folding.epsilon_forgotten),
    "eps added twice": _at_an_operator(folding.epsilon_twice),
    "scale on the wrong axis": _at_an_operator(folding.scale_on_wrong_axis),
    "shift dropped at the padding": shift_at_the_padding,
    "groups interleaved wrongly": _at_an_operator(folding.groups_interleaved),
    "another BatchNorm's parameters": _at_an_operator(folding.wrong_batch_norm),
    "bias scaled twice": _at_an_operator(folding.bias_scaled_twice),
    "float16 rounding done twice": _at_an_operator(folding.rounded_twice),
    "a recurrent operator's R by 1 %": elsewhere.recurrence_by_one_percent,
    "a weight of a branch by 1 %": elsewhere.branch_by_one_percent,
    "one operator left as it was": elsewhere.one_left_as_it_was,
    "the padding's number not mapped": elsewhere.padded_with_the_old_number,
}


@dataclass(frozen=True, eq=False)
class Fault:
    """A folded model that is wrong.

    Attributes:
        kind: one of KINDS.
        what: one line that says what was done, and where.
        model: the wrong model.
    """

    kind: str
    what: str
    model: onnx.ModelProto


def inject(kind: str, subject: Subject, target: Fold | Kept, random: np.random.Generator) -> Fault | NotHere | NoFault:
    """Do one fault at one fold, in a copy of the folded model.

    Returns:
        The fault; why it cannot happen there; or that the model would be as right as before.
    """
    wrong = KINDS[kind](subject, target, random)
    if isinstance(wrong, NotHere):
        return wrong
    model = written(subject.folded.model, wrong)
    return Fault(kind, wrong.what, model) if isinstance(model, onnx.ModelProto) else model


@dataclass
class Spread:
    """Faults of one model, spread evenly over the kinds, at random folds; none twice.

    Attributes:
        subject: the model.
        random: draws folds, operators and channels.
        kinds: to take turns in this order.
        rejected: mutations that were no faults, by kind.
        absent: kinds that apply at no fold, with the most frequent reason.
    """

    subject: Subject
    random: np.random.Generator
    kinds: Sequence[str] = tuple(KINDS)
    rejected: Counter = field(default_factory=Counter)
    absent: dict[str, str] = field(default_factory=dict)
    _done: dict[str, str] = field(default_factory=dict)

    def draw(self, count: int) -> Iterator[Fault]:
        """Up to so many faults; fewer where the kinds run out of places."""
        waiting = list(self.kinds)
        made = 0
        while waiting and made < count:
            kind = waiting.pop(0)
            fault = self._one(kind)
            if fault is not None:
                made += 1
                waiting.append(kind)
                yield fault

    def _one(self, kind: str) -> Fault | None:
        reasons: Counter = Counter()
        targets = self.subject.targets
        for place in self.random.permutation(len(targets)):
            answer = inject(kind, self.subject, targets[place], self.random)
            if isinstance(answer, NoFault):
                self.rejected[kind] += 1
            elif isinstance(answer, NotHere):
                reasons[answer.reason] += 1
            elif answer.what not in self._done:
                self._done[answer.what] = kind
                return answer
        if kind not in self._done.values():
            rejected = "wherever it applies, no number moves by more than rounding"
            self.absent[kind] = rejected if self.rejected[kind] else _most_common(reasons)
        return None


def _most_common(reasons: Counter) -> str:
    return reasons.most_common(1)[0][0] if reasons else "nothing was folded"
