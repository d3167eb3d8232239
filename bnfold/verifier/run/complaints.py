"""What onnxruntime says when it does not take a model: who is to blame, in words of one line.

Its exceptions have no common base, and their classes say little: an operator that it lacks and a name that is defined
twice are both a "Fail". The words tell them apart (onnxruntime, core/graph/graph.cc, model.cc, model_load_utils.h and
core/framework/bfc_arena.cc). Some of them hold the place in its source, with the whole signature of the function.
"""

import re

from bnfold.errors import InvalidOriginalError, UncheckedError
from bnfold.verifier.models.refused import Lacking, RefusedError

_PREFIX = re.compile(r"\[ONNXRuntimeError\] : \d+ : [A-Z_]+ : ")
_FILE = re.compile(r"^Load model from .*? failed:\s*")
# A place in the source, and the signature of the function there or its bare name: "core/x.cc:12 int A::f(B) const ".
_PLACE = re.compile(
    r"""
    (?:[A-Za-z]:)?[\w./\\+-]+\.(?:cc|cpp|cu|cuh|h|hpp):\d+\s+
    (?:
        (?:[\w:~<>*&,]+\s+)*[\w:~<>*&,]*::[\w:~<>=]+\((?:[^()]|\([^()]*\))*\)
        (?:\s*(?:const\b|noexcept\b|\[with\ [^\]]*\]|::<lambda\([^)]*\)>|::operator\(\)\([^)]*\)))*\s*
        | [\w:~<>]+\s+
    )?
    """,
    re.VERBOSE,
)
_IN_NODE = re.compile(r"Non-zero status code returned while running (\S+) node\. Name:'([^']*)' Status Message: ")
_INVALID = re.compile(
    r"is an invalid model|^Invalid model|ShapeInferenceError|TypeInferenceError"
    r"|protobuf parsing failed|Missing opset in the model"
)
_MISSING_OPERATOR = re.compile(r"([\w.]+:[\w.]+)\(-?\d+\) is not a registered function/op")
_MISSING_KERNEL = re.compile(
    r"Could not find an implementation for (?:[\w.]+[.:])?(\w+)\(\d+\) node with name '([^']*)'"
)
_IN_OUR_WORDS = (
    (_MISSING_OPERATOR, "it lacks the operator {}"),
    (
        re.compile(r"Unsupported model IR version: (\d+), max supported IR version: (\d+)"),
        "the model has IR version {}, and this onnxruntime takes those up to {}: upgrade it",
    ),
    (
        re.compile(r"Opset (\d+) is under development.*domain \S+ is till opset (\d+)\.?$"),
        "the model has opset {}, and this onnxruntime takes those up to {}: upgrade it",
    ),
    (re.compile(r"Opset (\d+) is under development"), "the model has opset {}, which is too new for it: upgrade it"),
)
_OUT_OF_MEMORY = re.compile(
    r"bad_alloc|[Ff]ailed to allocate memory|bfc_arena|out of memory|cannot allocate memory", re.I
)
_LONGEST, _MOST_READ = 400, 4000
"""Characters. Names of nodes may be of any length, and some of the patterns take its square."""


def of_original(error: RefusedError) -> UncheckedError:
    """What it means that the original is not taken: there is nothing to compare with."""
    kind = InvalidOriginalError if error.is_invalid else UncheckedError
    return kind(str(error))


def complaint(error: Exception, doing: str, role: str) -> UncheckedError:
    """What was raised when a model was to "load" or to "run", as an error of ours.

    Returns:
        RefusedError; another UncheckedError where memory ran out, which says nothing about the model.
    """
    if is_out_of_memory(error):
        return out_of_memory(f"{doing} {role} with onnxruntime")
    message = f"onnxruntime cannot {doing} {role}: {one_line(error)}"
    return RefusedError(message, is_invalid=_is_invalid(error), lacking=_lacking(error))


def _lacking(error: Exception) -> Lacking | None:
    text = str(error)[:_MOST_READ]
    if operator := _MISSING_OPERATOR.search(text):
        domain, _, op_type = operator[1].removeprefix("ai.onnx:").rpartition(":")
        name = f"{domain}:{op_type}" if domain else op_type
        return Lacking(domain, op_type, "", knows_operator=False, what=f"{name}, which onnxruntime lacks")
    if kernel := _MISSING_KERNEL.search(text):
        what = f"a kernel for {kernel[1]}, which onnxruntime lacks"
        return Lacking("", kernel[1], kernel[2], knows_operator=True, what=what)
    if (node := _IN_NODE.search(text)) and node[2]:
        problem = one_line(error).removeprefix(_in_node(node))
        what = f"{node[1]} {node[2]!r}, which does not run: {problem}"
        return Lacking("", node[1], node[2], knows_operator=True, what=what)
    return None


def out_of_memory(doing: str) -> UncheckedError:
    """That there was too little memory to do something."""
    return UncheckedError(f"memory ran out when the check was to {doing}: it needs more")


def is_out_of_memory(error: Exception) -> bool:
    """Whether memory ran out."""
    return isinstance(error, MemoryError) or bool(_OUT_OF_MEMORY.search(str(error)))


def _is_invalid(error: Exception) -> bool:
    return bool(_INVALID.search(_text(error))) and not _MISSING_OPERATOR.search(_text(error))


def _text(error: Exception) -> str:
    """The message without error codes, the name of the file, and line ends."""
    return _FILE.sub("", _PREFIX.sub("", " ".join(str(error)[:_MOST_READ].split())))


def one_line(error: Exception) -> str:
    """The message without error codes, line ends, and places and signatures of C++; where it is known, in our words."""
    text = _text(error)
    for pattern, words in _IN_OUR_WORDS:
        if found := pattern.search(text):
            return words.format(*found.groups())
    text = _IN_NODE.sub(_in_node, _PLACE.sub("", text).strip()) or type(error).__name__
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def _in_node(found: "re.Match[str]") -> str:
    return f"in {found[1]} {found[2]!r}: " if found[2] else f"in {found[1]}: "
