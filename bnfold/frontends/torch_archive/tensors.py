"""Tensors as pickles of torch describe them, held against the bytes that are there.

torch takes storages, shapes and strides from a pickle as they are: a storage longer than its entry, or a stride that
leads out of it, would read what lies behind it in memory.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

from bnfold.errors import ModelFormatError, UnsupportedModelError
from bnfold.frontends.torch_archive.pickle_values import Call, Global, Persistent

STORAGES: Mapping[str, tuple[str, int]] = {
    "FloatStorage": ("float32", 4),
    "DoubleStorage": ("float64", 8),
    "HalfStorage": ("float16", 2),
    "BFloat16Storage": ("bfloat16", 2),
    "ByteStorage": ("uint8", 1),
    "CharStorage": ("int8", 1),
    "ShortStorage": ("int16", 2),
    "IntStorage": ("int32", 4),
    "LongStorage": ("int64", 8),
    "BoolStorage": ("bool", 1),
    "ComplexFloatStorage": ("complex64", 8),
    "ComplexDoubleStorage": ("complex128", 16),
    "QInt8Storage": ("qint8", 1),
    "QUInt8Storage": ("quint8", 1),
    "QInt32Storage": ("qint32", 4),
    "UntypedStorage": ("", 1),
}
"""Classes of storages in the module torch: the dtype, and the bytes of an element."""

DTYPES: Mapping[str, int] = {
    **{dtype: size for dtype, size in STORAGES.values() if dtype},
    "complex32": 4,
    "uint16": 2,
    "uint32": 4,
    "uint64": 8,
    "float8_e4m3fn": 1,
    "float8_e5m2": 1,
    "float8_e4m3fnuz": 1,
    "float8_e5m2fnuz": 1,
    "float8_e8m0fnu": 1,
}
"""Names of dtypes in the module torch, and the bytes of an element."""

_LOCATION = re.compile(r"(cpu|cuda|mps|xpu|hpu|xla|mtia|privateuseone)(:\d{1,3})?")
_MOST_DIMENSIONS = 64
# What an expanded tensor may take beyond what is stored of it.
_MOST_EXPANDED = 2**28


@dataclass(frozen=True)
class StoredTensor:
    """A tensor on a storage.

    Attributes:
        key: of the storage: the name of its entry.
        dtype: as torch calls it.
        shape: of the tensor.
        stride: in elements, one for each dimension.
        offset: of its first element in the storage, in elements.
        requires_grad: whether it learns.
        is_parameter: whether it is a torch.nn.Parameter.
    """

    key: str
    dtype: str
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    offset: int
    requires_grad: bool
    is_parameter: bool = False


def storage_of(value: object, sizes: Mapping[str, int]) -> tuple[str, str, int]:
    """The entry, the dtype and the number of elements of a storage.

    Args:
        value: a reference in a pickle.
        sizes: the bytes of each entry that could hold one, by its key.

    Raises:
        ModelFormatError: it is none, or its entry has another size.
    """
    match value:
        case Persistent(
            name=(
                "storage",
                Global(module="torch" | "torch.storage", name=kind),
                str(key),
                str(location),
                int(count),
                *_,
            )
        ) if kind in STORAGES:
            dtype, itemsize = STORAGES[kind]
        case _:
            raise ModelFormatError("holds a tensor whose storage is not described as torch does it")
    if not _LOCATION.fullmatch(location):
        raise UnsupportedModelError(f"holds a tensor on the device {location[:40]!r}, which bnfold does not know")
    if sizes.get(key) != count * itemsize:
        raise ModelFormatError(
            f"holds a tensor of {count:,} elements ({dtype or 'bytes'}) in the entry {key[:40]!r} of "
            f"{sizes.get(key, 0):,} bytes; expected {count * itemsize:,}"
        )
    return key, dtype, count


def tensor_of(call: Call, sizes: Mapping[str, int]) -> StoredTensor:
    """A tensor that a pickle rebuilds from a storage.

    Args:
        call: of one of torch's functions that rebuild tensors.
        sizes: the bytes of each entry that could hold a storage, by its key.

    Raises:
        ModelFormatError: its parts do not fit together, or not to the entry.
        UnsupportedModelError: it is of a kind that bnfold does not read.
    """
    match call:
        case Call(function=Global(name="_rebuild_parameter"), arguments=(Call() as data, bool(learns), *hooks)):
            _check_hooks(hooks)
            inner = tensor_of(data, sizes)
            return StoredTensor(**{**vars(inner), "requires_grad": learns, "is_parameter": True})
        case Call(
            function=Global(name="_rebuild_tensor_v3"),
            arguments=(storage, int(offset), tuple(shape), tuple(stride), bool(learns), hooks, Global(name=dtype), *_),
        ) if dtype in DTYPES:
            key, _, count = storage_of(storage, sizes)
            count //= DTYPES[dtype]
        case Call(
            function=Global(name="_rebuild_tensor_v2"),
            arguments=(storage, int(offset), tuple(shape), tuple(stride), bool(learns), hooks, *_),
        ):
            key, dtype, count = storage_of(storage, sizes)
        case Call(
            function=Global(name="_rebuild_qtensor"),
            arguments=(storage, int(offset), tuple(shape), tuple(stride), tuple(), bool(learns), hooks),
        ):
            key, dtype, count = storage_of(storage, sizes)
        case _:
            raise UnsupportedModelError(f"holds a tensor of a kind that bnfold does not read ({call.function})")
    _check_hooks([hooks])
    check_extent(shape, stride, offset, count, DTYPES.get(dtype, 1))
    return StoredTensor(key, dtype, shape, stride, offset, learns)


def check_extent(shape: Any, stride: Any, offset: object, count: int, itemsize: int) -> None:  # noqa: ANN401 - unchecked yet
    """Hold a tensor against its storage.

    Args:
        shape: its sizes.
        stride: its strides, in elements.
        offset: of its first element, in elements.
        count: how many elements the storage has.
        itemsize: bytes of one.

    Raises:
        ModelFormatError: it does not fit.
    """
    numbers = [*shape, *stride, offset]
    if not all(type(number) is int and 0 <= number < 2**62 for number in numbers):
        raise ModelFormatError(f"holds a tensor of the shape {_short(shape)}, strides {_short(stride)}")
    assert isinstance(offset, int)
    if len(shape) != len(stride) or len(shape) > _MOST_DIMENSIONS:
        raise ModelFormatError(f"holds a tensor of {len(shape)} sizes and {len(stride)} strides")
    last = offset + sum((size - 1) * step for size, step in zip(shape, stride, strict=True))
    if prod(shape) and last >= count:
        raise ModelFormatError(
            f"holds a tensor of the shape {_short(shape)}, strides {_short(stride)}, from {offset:,} on, in a storage "
            f"of {count:,} elements"
        )
    if (prod(shape) - count) * itemsize > _MOST_EXPANDED:
        raise ModelFormatError(
            f"holds a tensor of {prod(shape):,} elements of which {count:,} are stored: more than is expanded"
        )


def _check_hooks(hooks: Any) -> None:  # noqa: ANN401 - unchecked yet
    """Hooks are functions that run backward; torch saves an empty dict of them."""
    for hook in hooks:
        match hook:
            case None | Call(function=Global(module="collections", name="OrderedDict"), arguments=(), state=None):
                continue
        raise UnsupportedModelError("holds a tensor with hooks, which are Python functions")


def _short(numbers: object) -> str:
    return str(tuple(numbers))[:60] if isinstance(numbers, (tuple, list)) else str(numbers)[:60]
