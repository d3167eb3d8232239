"""What can be done about a node that stays: one sentence, from the reasons of all ways that were tried."""

from collections import Counter
from collections.abc import Sequence

from bnfold.explanations import EXPLANATIONS
from bnfold.explanations.explanation import IMPOSSIBLE, in_words
from bnfold.keywords import keyword
from bnfold.outcome import Kept
from bnfold.refusal import Reason, Refusal, Way
from bnfold.report.labels import operator_of

WHERE: dict[Way, str] = {"": "itself", "upstream": "before", "downstream": "behind", "across": "across", "both": "both"}
"""The side of the node on which a way ends, in a word."""

_SAID_ALREADY = (Reason.TRAINING_MODE, Reason.STATISTICS_OUTPUTS, Reason.NOT_SPATIAL, Reason.GRAPH_OUTPUT)
# Their remedy is what a frontend would hint at.


def ways_of(kept: Kept) -> list[Refusal]:
    """The refusals that decide: the way that is half upstream and half downstream says nothing that these do not."""
    return [refusal for refusal in kept.refusals if refusal.way != "both"]


def verdict_of(kept: Kept) -> str:
    """Such as "cannot be folded by any rewrite of this file" or "can be folded if you export after model.eval()".

    One way that a person can open is enough. Where there is none, what is said is the weakest of what is known: a way
    that is closed for a good reason is not impossible.
    """
    ways = ways_of(kept)
    remedy = next(filter(None, map(_remedy, ways)), "")
    if remedy:
        return f"can be folded if you {remedy}"
    verdicts = [EXPLANATIONS[refusal.reason].verdict for refusal in ways]
    return next((verdict for verdict in verdicts if verdict != IMPOSSIBLE), IMPOSSIBLE)


def needs_a_person(kept: Kept) -> bool:
    """Whether somebody can do something about it."""
    return any(map(_remedy, ways_of(kept)))


def what_would_do(nodes: Sequence[Kept]) -> str:
    """What would do in the place of these BatchNorms, and for how many; some of them have something, or more."""
    counts = Counter(node.would_do for node in nodes if node.would_do is not None)
    asked = {"Add": f" ({keyword('lower', 'add')})"}
    parts = [
        f"one {op}{asked.get(op, '')}" + (f" for {counts[op]} of them" if counts[op] < len(nodes) else "")
        for op in sorted(counts)
    ]
    return ", ".join(parts)


def hint_beside(refusal: Refusal) -> str:
    """What a frontend adds on this very node, if the verdict does not say it already."""
    return "" if refusal.reason in _SAID_ALREADY else refusal.hint


def _remedy(refusal: Refusal) -> str:
    """What would open this way. An output that nothing else reads is what the model is for, and nobody can drop it."""
    if refusal.reason is Reason.GRAPH_OUTPUT and not refusal.hint:
        return ""
    return in_words(EXPLANATIONS[refusal.reason].remedy)


def obstacle(refusal: Refusal) -> str:
    """The reason in a few words, with the operator where the map was stopped: "a shift cannot pass Relu"."""
    return in_words(EXPLANATIONS[refusal.reason].short, obstacle_operator(refusal))


def obstacle_on_its_way(refusal: Refusal) -> str:
    """The same of a way that may lead across tensors of others: what keeps those from taking the inverse."""
    said = obstacle(refusal)
    return f"others cannot undo it: {said}" if refusal.way == "across" else said


def obstacle_operator(refusal: Refusal) -> str:
    """Type of the operator that stopped the map, without its namespace; "" where it is the node itself."""
    return operator_of(refusal.path[-1]).rpartition("::")[2] if len(refusal.path) > 1 else ""
