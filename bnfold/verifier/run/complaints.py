"""What onnxruntime says when it does not take a model: who is to blame, in words of one line.

Its exceptions have no common base, and their classes say little: an operator that it lacks and a name that is defined
twice are both a "Fail". The words tell them apart (onnxruntime, core/graph/graph.cc, model.cc, model_load_utils.h and
core/framework/bfc_arena.cc). Some of them hold the place in its source, with the whole signature of the function.
"""

import re
from dataclasses import dataclass

from bnfold.errors import InvalidOriginalError, UncheckedError

_PREFIX = re.compile(r"\[ONNXRuntimeError\] : \d+ : [A-Z_]+ : ")
_FILE = re.compile(r"^Load model from .*? failed:\s*")
_PLACE = re.compile(r"(?:[A-Za-z]:)?[\w./\\+-]+\.(?:cc|cpp|cu|cuh|h|hpp):\d+\s+")
_HEAD = re.compile(r"(?:[\w:~<>*&,]+\s+)*[\w:~<>*&,]*::[\w:~<>=]+\(")
_BARE_NAME = re.compile(r"[\w:~<>]+\s+")
_QUALIFIER = re.compile(r"\s*(?:const\b|noexcept\b|\[with [^\]]*\]|::<lambda\([^)]*\)>|::operator\(\)\([^)]*\))\s*|\s+")
_IN_NODE = re.compile(r"Non-zero status code returned while running (\S+) node\. Name:'([^']*)' Status Message: ")
_INVALID = re.compile(
    r"is an invalid model|^Invalid model|ShapeInferenceError|TypeInferenceError"
    r"|protobuf parsing failed|Missing opset in the model"
)
_MISSING_OPERATOR = re.compile(r"([\w.]+:[\w.]+)\(-?\d+\) is not a registered function/op")
_MISSING_KERNEL = re.compile(
    r"Could not find an implementation for (?:[\w.]+[.:])?(\w+)\(\d+\) node with name '([^']*)'"
)
_IR_VERSION = re.compile(r"Unsupported model IR version: (\d+), max supported IR version: (\d+)")
_OPSET = re.compile(r"Opset (\d+) is under development.*?(?:domain (\S+) is till opset (\d+))?\.?$")
_OUT_OF_MEMORY = re.compile(
    r"bad_alloc|[Ff]ailed to allocate memory|bfc_arena|out of memory|cannot allocate memory", re.I
)
_LONGEST = 400


@dataclass(frozen=True)
class Lacking:
    """What onnxruntime does not have: an operator, or a kernel for the types that a node has.

    Attributes:
        domain: of the operator, "" for ONNX's own.
        op_type: its name.
        node: the name of the node; "" for all of this operator.
        is_kernel: whether it knows the operator.
        problem: why the node does not run, whatever it is fed with; "" where it does not even load.
    """

    domain: str
    op_type: str
    node: str = ""
    is_kernel: bool = False
    problem: str = ""

    def __str__(self) -> str:
        """As messages call it."""
        name = f"{self.domain}:{self.op_type}" if self.domain else self.op_type
        if self.problem:
            return f"{name} {self.node!r}, which does not run: {self.problem}"
        return f"{'a kernel for ' if self.is_kernel else ''}{name}, which onnxruntime lacks"


class RefusedError(UncheckedError):
    """A model is not taken, or not on these inputs.

    Attributes:
        is_invalid: whether the model itself is to blame, and not what this onnxruntime knows or was fed with.
        lacking: what onnxruntime lacks, where that is all.
        failing: the node that it stopped at, where it ran.
    """

    def __init__(
        self,
        message: str,
        *,
        is_invalid: bool = False,
        lacking: Lacking | None = None,
        failing: Lacking | None = None,
    ) -> None:
        super().__init__(message)
        self.is_invalid = is_invalid
        self.lacking, self.failing = lacking, failing


def of_original(error: RefusedError) -> UncheckedError:
    """What it means that the original is not taken: there is nothing to compare with."""
    kind = InvalidOriginalError if error.is_invalid else UncheckedError
    return kind(str(error))


def complaint(error: Exception, doing: str, role: str) -> UncheckedError:
    """What was raised, as an error of ours.

    Args:
        error: of onnxruntime, or of what prepares a model for it.
        doing: "load" or "run".
        role: how messages call the model.

    Returns:
        `RefusedError`; another UncheckedError where memory ran out, which says nothing about the model.
    """
    if is_out_of_memory(error):
        return out_of_memory(f"{doing} {role} with onnxruntime")
    message = f"onnxruntime cannot {doing} {role}: {one_line(error)}"
    return RefusedError(message, is_invalid=_is_invalid(error), lacking=_lacking(error), failing=_failing(error))


def _failing(error: Exception) -> Lacking | None:
    found = _IN_NODE.search(str(error))
    if not found or not found[2]:
        return None
    problem = one_line(error).removeprefix(_in_node(found))
    return Lacking("", found[1], found[2], is_kernel=True, problem=problem)


def _lacking(error: Exception) -> Lacking | None:
    operator = _MISSING_OPERATOR.search(str(error))
    if operator:
        domain, _, op_type = operator[1].rpartition(":")
        return Lacking("" if domain == "ai.onnx" else domain, op_type)
    kernel = _MISSING_KERNEL.search(str(error))
    return Lacking("", kernel[1], kernel[2], is_kernel=True) if kernel else None


def out_of_memory(doing: str) -> UncheckedError:
    """That there was too little memory to do something."""
    return UncheckedError(f"memory ran out when the check was to {doing}: it needs more")


def is_out_of_memory(error: Exception) -> bool:
    """Whether memory ran out."""
    return isinstance(error, MemoryError) or bool(_OUT_OF_MEMORY.search(str(error)))


def _is_invalid(error: Exception) -> bool:
    return bool(_INVALID.search(_text(error))) and not _MISSING_OPERATOR.search(str(error))


def _text(error: Exception) -> str:
    """The message without error codes, the name of the file, and line ends."""
    return _FILE.sub("", _PREFIX.sub("", " ".join(str(error).split())))


def one_line(error: Exception) -> str:
    """The message without error codes, line ends, and places and signatures of C++; where it is known, in our words."""
    text = _text(error)
    missing = _MISSING_OPERATOR.search(text)
    if missing:
        return f"it lacks the operator {missing[1]}"
    version = _IR_VERSION.search(text)
    if version:
        return f"the model has IR version {version[1]}, and this onnxruntime takes those up to {version[2]}: upgrade it"
    opset = _OPSET.search(text)
    if opset:
        known = f", and this onnxruntime takes those up to {opset[3]}" if opset[3] else ", which is too new for it"
        return f"the model has opset {opset[1]}{known}: upgrade it"
    text = _IN_NODE.sub(_in_node, _without_places(text)) or type(error).__name__
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def _in_node(found: "re.Match[str]") -> str:
    return f"in {found[1]} {found[2]!r}: " if found[2] else f"in {found[1]}: "


def _without_places(text: str) -> str:
    """The text without "file.cc:12 int name(arguments) const " and "file.h:12 name "."""
    place = _PLACE.search(text)
    while place:
        behind = text[place.end() :]
        text = text[: place.start()] + behind[_end_of_signature(behind) :]
        place = _PLACE.search(text, place.start())
    return text.strip()


def _end_of_signature(text: str) -> int:
    """Where the signature of a function ends: behind its arguments and what qualifies them, or behind a bare name."""
    head = _HEAD.match(text)
    if head is None:
        bare = _BARE_NAME.match(text)
        return bare.end() if bare else 0
    depth, end = 1, head.end()
    while depth and end < len(text):
        depth += {"(": 1, ")": -1}.get(text[end], 0)
        end += 1
    while behind := _QUALIFIER.match(text, end):
        end = behind.end()
    return end
