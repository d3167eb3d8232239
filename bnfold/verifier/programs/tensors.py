"""Tensors of torch as arrays of numpy and back, bfloat16 included, and the results of a program as a list of them."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
import numpy.typing as npt

from bnfold.verifier.compare.arrays import FLOATS

if TYPE_CHECKING:
    import torch

Array = npt.NDArray[Any]


def to_array(tensor: "torch.Tensor") -> Array:
    """A tensor's values; numpy has no bfloat16 of its own, so its bits go over."""
    import torch

    values = tensor.detach().cpu().resolve_conj().resolve_neg()
    if values.layout is not torch.strided:
        values = values.to_dense()
    if values.dtype is torch.bfloat16:
        bits: Array = values.contiguous().view(torch.int16).numpy()
        return bits.view(ml_dtypes.bfloat16)
    array: Array = values.numpy()
    return array


def to_tensor(array: Array) -> "torch.Tensor":
    """An array's values, in memory of their own."""
    import torch

    copy = np.array(array, order="C", copy=True)
    if copy.dtype == ml_dtypes.bfloat16:
        return torch.from_numpy(copy.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(copy)


def as_arrays(value: object) -> Any:  # noqa: ANN401 - of the structure of what comes in
    """A structure of lists, tuples and dicts with arrays in place of its tensors, where numpy has their type."""
    import torch
    from torch.utils import _pytree as pytree

    def array(held: Any) -> Any:  # noqa: ANN401
        return to_array(held) if isinstance(held, torch.Tensor) and numpy_dtype(held.dtype) is not None else held

    return pytree.tree_map(array, value)


def as_tensors(value: object) -> Any:  # noqa: ANN401 - of the structure of what comes in
    """The same back, every tensor with memory of its own."""
    from torch.utils import _pytree as pytree

    return pytree.tree_map(lambda held: to_tensor(held) if isinstance(held, np.ndarray) else held, value)


def as_seen(value: object) -> Any:  # noqa: ANN401 - of the structure of what comes in
    """The same, of which floating-point arrays that have an axis keep shape and type alone, and take no memory."""
    import torch
    from torch.utils import _pytree as pytree

    def array(held: Any) -> Any:  # noqa: ANN401
        dtype = numpy_dtype(held.dtype) if isinstance(held, torch.Tensor) else None
        if dtype in FLOATS and held.dim():
            return np.broadcast_to(np.zeros((), dtype), tuple(held.shape))
        return as_arrays(held.clone()) if isinstance(held, torch.Tensor) else held

    return pytree.tree_map(array, value)


def numpy_dtype(dtype: "torch.dtype") -> "np.dtype[Any] | None":
    """The same type in numpy; None where there is none."""
    import torch

    try:
        found: np.dtype[Any] = np.dtype(
            ml_dtypes.bfloat16 if dtype is torch.bfloat16 else str(dtype).removeprefix("torch.")
        )
    except TypeError:
        return None
    return found


def comparable(value: object) -> object:
    """A value as it is now, in the form that `bnfold.verifier.compare.arrays` takes.

    Tensors become arrays with memory of their own, as the program may write to them later; the two parts of a complex
    one stand on a last axis.

    Containers become lists; what is neither a tensor nor a plain value becomes the name of its type.
    """
    import torch

    if isinstance(value, torch.Tensor):
        return to_array(torch.view_as_real(value.resolve_conj()) if value.is_complex() else value).copy()
    if isinstance(value, Mapping):
        return [comparable(entry) for pair in value.items() for entry in pair]
    if isinstance(value, (list, tuple)):
        return [comparable(entry) for entry in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return str(value) if isinstance(value, (complex, torch.dtype, torch.device)) else type(value).__name__


def same_values(a: object, b: object) -> bool:
    """Whether two comparable values are the same, bit for bit; NaN is NaN."""
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(same_values, a, b))
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        alike = a.dtype == b.dtype and a.shape == b.shape
        return alike and np.ascontiguousarray(a).tobytes() == np.ascontiguousarray(b).tobytes()
    return type(a) is type(b) and (a == b or a != a)


def named_leaves(result: object, name: str = "output") -> dict[str, object]:
    """Everything that a program returned, flat, each under the path to it: output, output.0, output.logits."""
    if isinstance(result, Mapping):
        parts = [(str(key), value) for key, value in result.items()]
    elif isinstance(result, tuple) and hasattr(result, "_fields"):
        parts = list(zip(result._fields, result, strict=True))
    elif isinstance(result, (list, tuple)):
        parts = [(str(index), value) for index, value in enumerate(result)]
    else:
        return {name: result}
    return {path: value for key, part in parts for path, value in named_leaves(part, f"{name}.{key}").items()}
