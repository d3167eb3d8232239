"""How inputs and outputs are nested: a text that torch turns into types, some of which it imports by their name.

Containers of Python and of torch are allowed, and those that a package of the user's registers.
"""

from collections.abc import Iterable
from typing import Any

from bnfold.errors import ModelFormatError, UnsupportedModelError
from bnfold.frontends.torch_archive.json_text import read_json
from bnfold.frontends.torch_archive.names import is_dotted, is_variable
from bnfold.keywords import keyword

_PLAIN = frozenset(
    {
        "builtins.tuple",
        "builtins.list",
        "builtins.dict",
        "collections.OrderedDict",
        "collections.deque",
        "collections.namedtuple",
        "torch.fx.immutable_collections.immutable_list",
        "torch.fx.immutable_collections.immutable_dict",
        "torch.Size",
    }
)
_DEFAULTS = frozenset({"dict", "list", "set", "tuple", "int", "float", "str", "bool"})
_MOST_PARTS = 50_000
_DEEPEST = 30
_PROTOCOL = 1


def check_treespec(text: object, imports: Iterable[str]) -> None:
    """The nesting of inputs or outputs.

    Args:
        text: as torch writes it.
        imports: packages that the user named.

    Raises:
        ModelFormatError: it is damaged.
        UnsupportedModelError: it is of a type that torch would import by its name.
    """
    _check(_parsed(text), tuple(imports), 0)


def check_arguments(text: object, imports: Iterable[str]) -> None:
    """The nesting of the arguments of forward: a tuple, and a dict whose keys become names in Python source.

    Raises:
        As `check_treespec`.
    """
    check_treespec(text, imports)
    match _parsed(text):
        case {"type": "builtins.tuple", "children_spec": [_, {"type": "builtins.dict", "context": str(context)}]}:
            keys = read_json("in_spec", context.encode(), most_parts=_MOST_PARTS)
            if isinstance(keys, list) and all(is_variable(key) for key in keys):
                return
    raise UnsupportedModelError("holds inputs whose names could become code")


def _parsed(text: object) -> Any:  # noqa: ANN401 - any JSON
    if not isinstance(text, str):
        raise ModelFormatError("holds a nesting of inputs that is no text")
    match read_json("in_spec", text.encode(errors="replace"), most_parts=_MOST_PARTS):
        case [int(protocol), spec] if protocol == _PROTOCOL:
            return spec
    raise ModelFormatError("holds a nesting of inputs in a form that torch does not write")


def _check(spec: object, imports: tuple[str, ...], depth: int) -> None:
    match spec:
        case {"type": None, "context": None, "children_spec": [], **others} if not others:
            return
        case {"type": str(kind), "context": context, "children_spec": list(children), **others} if (
            not others and depth < _DEEPEST
        ):
            _check_context(kind, context, imports)
            for child in children:
                _check(child, imports, depth + 1)
        case _:
            raise ModelFormatError("holds a nesting of inputs in a form that torch does not write")


def _check_context(kind: str, context: object, imports: tuple[str, ...]) -> None:
    if kind.partition(".")[0] in imports:
        return
    if kind == "collections.defaultdict":
        _check_default(context)
    elif kind == "collections.namedtuple":
        if not is_dotted(context):
            raise UnsupportedModelError(f"holds inputs of a type that is imported by name ({str(context)[:80]!r})")
    elif kind not in _PLAIN:
        raise UnsupportedModelError(
            f"holds inputs or outputs of the type {kind[:80]!r}: name its package with {keyword('imports')} to allow it"
        )
    elif context is not None:
        if not isinstance(context, str):
            raise ModelFormatError("holds a nesting of inputs in a form that torch does not write")
        _check_plain(read_json("in_spec", context.encode(errors="replace"), most_parts=_MOST_PARTS))


def _check_default(context: object) -> None:
    """What a defaultdict makes of a missing key: torch imports it by name."""
    match context:
        case {"default_factory_module": "builtins", "default_factory_name": str(name), "dict_context": keys}:
            if name in _DEFAULTS:
                _check_plain(keys)
                return
    raise UnsupportedModelError(f"holds inputs of a type that is imported by name ({str(context)[:80]!r})")


def _check_plain(value: object) -> None:
    """Keys of a dict and the like. An object is an enumeration, whose class torch would import by name."""
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            raise UnsupportedModelError(f"holds inputs of a type that is imported by name ({str(one)[:80]!r})")
        if isinstance(one, list):
            waiting += one
