"""The code of a TorchScript file, before torch compiles it: how deep, how long, and what runs while it is loaded.

torch's parser and compiler are recursive, so that code nested some thousand levels deep ends the process. The code that
torch writes is plain: names, numbers, texts in double quotes, operators. Whatever else is in it is refused.
"""

import re
from collections.abc import Iterator, Mapping

from bnfold.errors import ModelFormatError, UnsupportedModelError

_MOST_BYTES = 2**25
_MOST_TOKENS = 1_000_000
_LONGEST_LINE = 2**15
_MOST_VALUES = 20_000
_DEEPEST = 200
_DEEPEST_BLOCK = 120

_TOKEN = re.compile(
    r"""(?P<space>[ \t]+|\#(?!\ *type:)[^\n]*)
      | (?P<newline>\n)
      | (?P<text>"(?:[^"\\\n]|\\.)*")
      | (?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?j?)
      | (?P<name>[A-Za-z_]\w*)
      | (?P<open>[(\[{])
      | (?P<close>[)\]}])
      | (?P<comma>,)
      | (?P<operator>->|\*\*|//|<<|>>|[-+*/%@&|^=!<>]=?|[.:~;])""",
    re.VERBOSE | re.ASCII,
)
_OPERATING_WORDS = frozenset({"and", "or", "not", "if", "else", "in", "is", "lambda"})

_ON_LOADING = "__setstate__"
_LOOPS = re.compile(r"\b(while|for)\b")
_DEFINITION = re.compile(r"^ *(?:def +(\w+)|class +\w+) *\(", re.MULTILINE)
_CALLED = re.compile(r"([A-Za-z_][\w.]*)\s*\(")
_OPERATOR = re.compile(r"(?<![\w.])(?:torch|ops)(?:\s*\.\s*\w+)+")
_UNNAMED_CALL = re.compile(r"[)\]}]\s*\(")
_NAME = re.compile(r"[A-Za-z_]\w*")
_TEXT = re.compile(r'"(?:[^"\\\n]|\\.)*"')
# What methods of torch's own modules do while they are loaded: packing of quantized weights, and plain values.
_HARMLESS = frozenset(
    """
    annotate bool float getattr int len list tuple unchecked_cast uninitialized str min max isinstance dict
    def print __is__ __isnot__ __not__ __and__ __or__ __getitem__ __contains__ eq ne lt le gt ge add sub
    append format items keys values size dim copy_ to detach dtype device set_ view reshape contiguous
    RaiseException warn TupleUnpack unsqueeze squeeze select slice dequantize int_repr q_scale q_zero_point
    per_tensor_affine linear_prepack linear_prepack_fp16 linear_unpack linear_unpack_fp16 conv1d_prepack
    conv2d_prepack conv3d_prepack conv_transpose1d_prepack conv_transpose2d_prepack conv_transpose3d_prepack
    conv2d_unpack conv3d_unpack embedding_bag_prepack embedding_bag_unpack qlinear_prepack qlinear_unpack
    make_quantized_cell_params make_quantized_cell_params_dynamic make_quantized_cell_params_fp16
    """.split()  # noqa: SIM905 - a list of strings would take many lines
)


def check_code(code: Mapping[str, str]) -> None:
    """All code of a file.

    Args:
        code: the text of each entry of code.

    Raises:
        ModelFormatError: it is no code that torch writes, or so deep that its parser would not survive.
        UnsupportedModelError: it would do more than compute while it is loaded.
    """
    if sum(map(len, code.values())) > _MOST_BYTES:
        raise ModelFormatError(f"holds more than {_MOST_BYTES:,} bytes of code")
    tokens = 0
    for name, text in code.items():
        tokens += _check_form(name, text)
        if tokens > _MOST_TOKENS:
            raise ModelFormatError(f"holds code of more than {_MOST_TOKENS:,} words")
    _check_loading("\n".join(code.values()))


def _check_form(name: str, text: str) -> int:
    """Nesting of expressions and of blocks, lengths of lines; the number of tokens."""
    for line in text.split("\n"):
        if len(line) > _LONGEST_LINE:
            raise ModelFormatError(f"holds a line of {len(line):,} characters in {name!r}; torch writes shorter ones")
        if (len(line) - len(line.lstrip(" "))) // 2 > _DEEPEST_BLOCK:
            raise ModelFormatError(f"holds code in {name!r} nested deeper than {_DEEPEST_BLOCK} blocks")
    depth = _Depth()
    count = 0
    for kind in _tokens(name, text):
        count += 1
        if depth.after(kind) > _DEEPEST:
            raise ModelFormatError(f"holds an expression in {name!r} nested deeper than {_DEEPEST} levels")
        if depth.values > _MOST_VALUES:
            raise ModelFormatError(f"holds a statement in {name!r} of more than {_MOST_VALUES:,} values")
    return count


class _Depth:
    """How deep an expression is, at most: brackets that are open, and operators since the last comma in each."""

    def __init__(self) -> None:
        self._operators = [0]
        self._sum = 0
        self.values = 0

    def after(self, kind: str) -> int:
        """The depth after one more token."""
        if kind in ("open", "operator"):
            self._operators[-1] += 1
            self._sum += 1
        if kind == "open":
            self._operators.append(0)
        elif kind == "close" and len(self._operators) > 1:
            self._sum -= self._operators.pop()
        elif kind == "comma":
            self._sum -= self._operators[-1]
            self._operators[-1] = 0
            self.values += 1
        elif kind == "newline" and len(self._operators) == 1:
            self._operators[-1] = self._sum = self.values = 0
        return self._sum


def _tokens(name: str, text: str) -> Iterator[str]:
    place = 0
    while place < len(text):
        found = _TOKEN.match(text, place)
        if found is None:
            raise ModelFormatError(f"holds code in {name!r} that torch does not write: {text[place : place + 20]!r}")
        place = found.end()
        kind = str(found.lastgroup)
        if kind == "name" and found.group() in _OPERATING_WORDS:
            kind = "operator"
        if kind != "space":
            yield kind


def _check_loading(code: str) -> None:
    """What runs before anybody could look at it: methods called __setstate__, and all that they call."""
    bodies = _bodies(code)
    waiting, seen = [_ON_LOADING], {_ON_LOADING}
    while waiting:
        for body in bodies.get(waiting.pop(), ()):
            _check_body(body, bodies)
            called = {name for name in _NAME.findall(body) if name in bodies} - seen
            seen |= called
            waiting += called


def _bodies(code: str) -> dict[str, list[str]]:
    """The text of each function by its bare name, texts in it left out; of all classes together."""
    code = _TEXT.sub('""', code)
    found: dict[str, list[str]] = {}
    definitions = list(_DEFINITION.finditer(code))
    for index, definition in enumerate(definitions):
        end = definitions[index + 1].start() if index + 1 < len(definitions) else len(code)
        if definition[1]:  # no header of a class
            found.setdefault(definition[1], []).append(code[definition.start() : end])
    return found


def _check_body(body: str, bodies: Mapping[str, list[str]]) -> None:
    loop = _LOOPS.search(body)
    if loop is not None:
        raise UnsupportedModelError(f"holds code that runs on loading and loops ({loop.group()!r}): it is not loaded")
    for called in (*_CALLED.findall(body), *_OPERATOR.findall(body)):
        name = called.rpartition(".")[2]
        if not (name in _HARMLESS or name in bodies or re.search(rf"\b{name} = __torch__\.", body)):
            raise UnsupportedModelError(
                f"holds code that could run on loading and calls {called[:80]!r}, which does more than fill in values: "
                "it is not loaded"
            )
    if _UNNAMED_CALL.search(body):
        raise UnsupportedModelError("holds code that runs on loading and calls what it does not name: it is not loaded")
