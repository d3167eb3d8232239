"""What is said of a code: for people who meet it in a report and want to know what to do."""

from dataclasses import dataclass

from bnfold.keywords import keyword

IMPOSSIBLE = "cannot be folded by any rewrite of this file"
NOT_WORTH_IT = "folding it would cost as much as it saves"
WOULD_ROUND_WORSE = "cannot be folded without rounding worse"


@dataclass(frozen=True)
class Explanation:
    """A code, explained.

    What a caller can ask for stands in braces, {exclude}, because each door calls it differently: see `in_words`.

    Attributes:
        short: the reason in a few words, with {op} where the operator stands that stopped the map.
        text: what happened, in a few sentences.
        before: an example of a graph in which a node stays for this reason.
        after: what becomes of it where a person does what can be done; where nothing can be done, why it stays.
        advice: what a person can do about it, in whole sentences; never a change of what the network computes.
        remedy: the same in a few words, to complete "can be folded if you"; empty where nothing helps.
        verdict: what is said where nothing helps.
    """

    short: str
    text: str
    before: str
    after: str
    advice: str
    remedy: str = ""
    verdict: str = IMPOSSIBLE


def in_words(text: str, operator: str = "") -> str:
    """A text of an explanation, with what stands in braces in the words of the caller's door.

    Args:
        text: as above.
        operator: type of the operator that stopped the map, if that is known.
    """
    return text.format(
        op=operator or "the operator",
        assume_inference=keyword("assume_inference", True),
        exclude=keyword("exclude"),
        lower=keyword("lower"),
        keep_overridable=keyword("keep_overridable", True),
        revert=keyword("on_mismatch", "revert"),
        shapes=keyword("shapes"),
    )


NOTHING = "Nothing in the file: the network is made like that, and computes what it always did."
LOWER = "For a tool that takes no BatchNorm, {lower} writes it as other operators."
NOTHING_BUT_LOWER = f"{NOTHING} {LOWER}"
