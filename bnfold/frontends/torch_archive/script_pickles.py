"""The pickles of a TorchScript file, which torch's reader in C++ takes at their word: what they may name and hold."""

import re
from collections.abc import Iterable, Mapping

from bnfold.errors import ModelFormatError, UnsupportedModelError
from bnfold.frontends.torch_archive.names import is_dotted
from bnfold.frontends.torch_archive.pickle_values import Call, Global, Persistent, PickleRefusedError, walk
from bnfold.frontends.torch_archive.pickles import read_pickle
from bnfold.frontends.torch_archive.tensors import STORAGES, storage_of, tensor_of
from bnfold.frontends.torch_archive.zip_reader import Buffer

_BUILDS = frozenset({"build_intlist", "build_tensorlist", "build_doublelist", "build_boollist", "restore_type_tag"})
_REBUILDS = frozenset({"_rebuild_tensor_v2", "_rebuild_qtensor"})
_OF_TORCH = frozenset(
    {*STORAGES, "device", "per_tensor_affine", "per_channel_affine", "per_channel_affine_float_qparams"}
)
_CLASSES_OF_CPP = "__torch__.torch.classes."
_KNOWN_CLASSES = frozenset({"quantized", "rnn", "sparse", "xnnpack", "mkldnn", "mkldnn_prepacked"})
_TYPE = re.compile(r"[\w.,\[\]() ]{1,2000}", re.ASCII)
_DEEPEST_TYPE = 20


def check_pickle(name: str, data: Buffer, sizes: Mapping[str, int], imports: Iterable[str]) -> set[str]:
    """A pickle of objects and constants.

    Args:
        name: of its entry.
        data: the pickle.
        sizes: the bytes of each storage beside it, by its key.
        imports: packages that the user named.

    Returns:
        The keys of the storages that it refers to.

    Raises:
        ModelFormatError: it is damaged, or its tensors do not fit into their storages.
        UnsupportedModelError: it names something that torch.jit.save does not write.
    """
    named = tuple(imports)
    try:
        value = read_pickle(data, lambda one: _is_known(one, named))
    except PickleRefusedError as error:
        raise UnsupportedModelError(
            f"holds a pickle in {name!r} that torch.jit.save does not write (it {error}): nothing in it was executed"
        ) from error
    keys = set()
    for part in walk(value):
        if isinstance(part, Persistent):
            key, _, _ = storage_of(part, sizes)
            keys.add(key)
        elif isinstance(part, Call):
            _check_call(part, sizes)
    return keys


def _is_known(one: Global, imports: tuple[str, ...]) -> bool:
    if one.module == "__torch__" or one.module.startswith("__torch__."):
        return is_dotted(f"{one.module}.{one.name}") and _is_known_class(f"{one.module}.{one.name}", imports)
    return (
        (one.module == "torch._utils" and one.name in _REBUILDS)
        or (one.module == "torch.jit._pickle" and one.name in _BUILDS)
        or (one.module == "torch" and one.name in _OF_TORCH)
        or one in (Global("collections", "OrderedDict"), Global("builtins", "complex"))
    )


def _is_known_class(name: str, imports: tuple[str, ...]) -> bool:
    """Whether it is made of the file's own code, or a class of C++ that only holds weights."""
    if not name.startswith(_CLASSES_OF_CPP):
        return True
    return name.removeprefix(_CLASSES_OF_CPP).partition(".")[0] in _KNOWN_CLASSES or bool(imports)


def _check_call(call: Call, sizes: Mapping[str, int]) -> None:
    if call.function.module == "torch._utils":
        tensor_of(call, sizes)
    elif call.function.name == "restore_type_tag":
        match call.arguments:
            case (_, str(kind)) if _TYPE.fullmatch(kind) and kind.count("[") + kind.count("(") <= _DEEPEST_TYPE:
                return
        raise ModelFormatError("holds a pickle with a type that torch does not write")
