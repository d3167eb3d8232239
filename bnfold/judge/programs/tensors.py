"""Tensors of torch as arrays of numpy and back, bfloat16 included, and the results of a program as a list of them."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
import numpy.typing as npt

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


def named_results(result: object, name: str = "output") -> dict[str, object]:
    """Everything that a program returned, flat, each under the path to it: output, output.0, output.logits.

    Tensors become arrays; numbers, strings and None stay as they are.
    """
    import torch

    if isinstance(result, torch.Tensor):
        return {name: to_array(result)}
    if isinstance(result, Mapping):
        parts = [(str(key), value) for key, value in result.items()]
    elif isinstance(result, tuple) and hasattr(result, "_fields"):
        parts = list(zip(result._fields, result, strict=True))
    elif isinstance(result, (list, tuple)):
        parts = [(str(index), value) for index, value in enumerate(result)]
    else:
        return {name: result}
    return {path: value for key, part in parts for path, value in named_results(part, f"{name}.{key}").items()}
