"""Files of torch.save, which hold values and no program: what is in them, so that their owner knows what to export.

Nothing in them is executed, and nothing is imported for them: the pickle is read as inert values.
"""

from collections.abc import Mapping
from itertools import islice
from typing import Any

from bnfold.errors import ModelFormatError
from bnfold.frontends.torch_archive.pickle_values import Call, Global, PickleRefusedError
from bnfold.frontends.torch_archive.pickles import peek_pickle, pickles_in
from bnfold.frontends.torch_archive.zip_reader import Buffer, Entry

_ANYTHING = "a state dict or a whole module"
_WRITE_IT = "with torch.export.save or torch.jit.save"
# Before the value, older versions of torch wrote a magic number, their protocol, and the sizes of numbers.
_IN_FRONT = 3
_LONGEST_NAME = 80
_MOST_KEYS = 100


def refusal_of_archive(entries: Mapping[str, Entry]) -> ModelFormatError | None:
    """What to say of a zip that torch.save wrote; None where it is another one.

    Args:
        entries: of the zip.
    """
    pickled = next((entry for name, entry in entries.items() if name.rpartition("/")[2] == "data.pkl"), None)
    return None if pickled is None else _refusal(pickled.content())


def refusal_of_pickle(start: Buffer) -> ModelFormatError:
    """What to say of a file that is a pickle, such as older versions of torch.save wrote.

    Args:
        start: of the file; the pickles that are cut off by its end are not read.
    """
    pickles = pickles_in(start)
    if len(pickles) > _IN_FRONT:
        return _refusal(pickles[_IN_FRONT])
    return _refusal(pickles[0] if len(pickles) == 1 else b"")


def _refusal(pickled: Buffer) -> ModelFormatError:
    try:
        what, advice = _described(peek_pickle(pickled, lambda _: True))
    except (PickleRefusedError, ModelFormatError):
        what, advice = _ANYTHING, f"write a program instead, {_WRITE_IT}"
    return ModelFormatError(f"is a pickle of torch.save ({what}), not a program: {advice}; nothing in it was executed")


def _described(value: Any) -> tuple[str, str]:  # noqa: ANN401 - an inert value
    """What the file holds, and what to do with it."""
    found = _module(value) or _state_dict(value)
    if found is not None:
        return found
    first = list(islice(_items(value).items(), _MOST_KEYS))
    for key, part in {id(part): (key, part) for key, part in reversed(first)}.values():
        found = _module(part) or _state_dict(part)
        if found is not None:
            what, advice = found
            return f"a checkpoint, whose {_quoted(key)} is {what}", advice
    return _other(value), f"write a program instead, {_WRITE_IT}"


def _other(value: object) -> str:
    if held := list(islice(_items(value), 3)):
        return f"a dict of {', '.join(map(_quoted, held))}"
    if not isinstance(value, Call):
        return f"a {type(value).__name__}"
    return "a tensor" if _is_tensor(value) else f"an object of the class {_quoted(_class_of(value))}"


def _module(value: object) -> tuple[str, str] | None:
    """A torch.nn.Module is known by its state, whatever its class is called."""
    if not (isinstance(value, Call) and isinstance(value.state, dict) and "_modules" in value.state):
        return None
    kind = _quoted(_class_of(value))
    return f"a whole module of the class {kind}", f"load it where its classes can be imported, and write it {_WRITE_IT}"


def _class_of(value: Call) -> Global:
    """Older pickles call a function of copyreg with the class."""
    first = value.arguments[0] if value.arguments else None
    return first if value.function.module in ("copyreg", "copy_reg") and isinstance(first, Global) else value.function


def _state_dict(value: object) -> tuple[str, str] | None:
    count = sum(map(_is_tensor, _items(value).values()))
    if not count:
        return None
    tensors = "1 tensor" if count == 1 else f"{count} tensors"
    return f"a state dict of {tensors}", f"load it into its module, and write that {_WRITE_IT}"


def _is_tensor(value: object) -> bool:
    return isinstance(value, Call) and value.function.module == "torch._utils"


def _items(value: object) -> dict[Any, Any]:
    if isinstance(value, Call) and value.function == Global("collections", "OrderedDict"):
        value = value.state
    return value if isinstance(value, dict) else {}


def _quoted(name: object) -> str:
    """A name of the file's choice, in one line and short."""
    return repr(str(name)[:_LONGEST_NAME]) if isinstance(name, (str, int, Global)) else f"a {type(name).__name__}"
