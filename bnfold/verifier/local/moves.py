"""Parameters moved by as little as their type allows: another rounding of the same model."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from bnfold.verifier.compare.arrays import FLOATS
from bnfold.verifier.compare.channels import eps
from bnfold.verifier.models.graph import Structure
from bnfold.verifier.models.subgraph import AS_STORED, TO_SINGLE

Array = npt.NDArray[Any]


def moved_by_one(
    graph: Structure, nodes: Iterable[int], seed: int, precision: Mapping[int, int] = AS_STORED
) -> dict[str, Array]:
    """The parameters over one axis of nodes that have no others, each number moved up or down by one ulp.

    Those are the scales and shifts. Moving large weights would run large operators twice, and tell the same.

    Args:
        graph: the model.
        nodes: of a part of it.
        seed: of the directions.
        precision: the element types that the part computes in, where they are not those that are stored.
    """
    rng = np.random.default_rng(seed)
    moved: dict[str, Array] = {}
    for index in nodes:
        arrays = {name: _in_precision(graph, name, precision) for name in _float_parameters(graph, index)}
        if all(_axes(values) <= 1 for values in arrays.values()):
            moved |= {name: _moved(values, rng.choice((-1.0, 1.0), values.shape)) for name, values in arrays.items()}
    return moved


def moved_within(graph: Structure, nodes: Iterable[int], unchanged: set[str], seed: int) -> dict[str, Array]:
    """The half-precision parameters as float32, each number moved by half an ulp of its own type.

    Args:
        graph: the model.
        nodes: of a part of it.
        unchanged: parameters to leave alone.
        seed: of the directions.
    """
    rng = np.random.default_rng(seed)
    moved: dict[str, Array] = {}
    for index in nodes:
        for name, values in _float_parameters(graph, index).items():
            tensor = graph.parameter(name)
            if name in unchanged or tensor is None or tensor.data_type not in TO_SINGLE:
                continue
            steps = rng.choice((-0.5, 0.5), values.shape) * _ulp(values)
            moved[name] = (values.astype(np.float64) + steps).astype(np.float32)
    return moved


def units(graph: Structure, nodes: Iterable[int]) -> dict[str, Array]:
    """In place of each half-precision parameter the distances of its numbers to their neighbours, as float32."""
    return {
        name: _ulp(values).astype(np.float32)
        for index in nodes
        for name, values in _float_parameters(graph, index).items()
        if (tensor := graph.parameter(name)) is not None and tensor.data_type in TO_SINGLE
    }


def _float_parameters(graph: Structure, index: int) -> dict[str, Array]:
    names = [name for name in graph.nodes[index].input if name and graph.parameter(name) is not None]
    arrays = {name: graph.array(name) for name in names}
    return {name: values for name, values in arrays.items() if values.dtype in FLOATS}


def _in_precision(graph: Structure, name: str, precision: Mapping[int, int]) -> Array:
    from onnx import helper

    tensor = graph.parameter(name)
    target = precision.get(tensor.data_type) if tensor is not None else None
    values = graph.array(name)
    return values if target is None else values.astype(helper.tensor_dtype_to_np_dtype(target))


def _axes(values: Array) -> int:
    return sum(length > 1 for length in values.shape)


def _moved(values: Array, directions: npt.NDArray[np.float64]) -> Array:
    with np.errstate(over="ignore"):
        return (values.astype(np.float64) * (1 + directions * eps(values.dtype))).astype(values.dtype)


def _ulp(values: Array) -> npt.NDArray[np.float64]:
    """The distance to the next larger number of the type, of each number."""
    magnitude = np.abs(np.where(np.isfinite(values), values, np.zeros((), values.dtype)))
    above = np.nextafter(magnitude, np.full((), np.inf, values.dtype))
    with np.errstate(invalid="ignore"):
        return np.where(np.isfinite(above), above.astype(np.float64) - magnitude.astype(np.float64), 0)
