"""What to feed a program of torch: shapes and types from the caller, from examples and from the graph, values drawn."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np

from bnfold.errors import UncheckedError, UsageError
from bnfold.verifier.compare.arrays import FLOATS
from bnfold.verifier.options import VerifyOptions
from bnfold.verifier.programs.opening import open_program
from bnfold.verifier.programs.ports import TorchPort
from bnfold.verifier.programs.program import TorchProgram
from bnfold.verifier.programs.tensors import Array, to_tensor
from bnfold.verifier.run.inputs import DISTRIBUTIONS

# Integers may index a table whose length only the program knows: as many values as it bears.
_INTEGERS_BELOW = (8, 2, 1)


@dataclass(frozen=True)
class TorchFeed:
    """One way to feed a program.

    Attributes:
        ports: its arguments, every tensor that is fed with shape and dtype.
        integers_below: the bound of integers.
    """

    ports: tuple[TorchPort, ...]
    integers_below: int


def example_arguments(model: object, options: VerifyOptions | None = None) -> list[Any]:
    """Arguments that a ScriptModule or an ExportedProgram runs on: the first sample of a check.

    Those of an ExportedProgram are flat.

    Raises:
        UsageError: nothing says the shape of an input, or the options name one that is not there.
        UncheckedError: the program does not run on anything that was tried.
    """
    options = options or VerifyOptions()
    program = open_program("the original", model, inputs_named(options))
    return program.arguments(draw_leaves(choose_feed(program, options), options, sample=0))


def inputs_without_shape(model: object, options: VerifyOptions) -> list[str]:
    """The inputs of a ScriptModule or an ExportedProgram whose shapes neither it nor the caller says."""
    program = open_program("the original", model, inputs_named(options))
    ports = [_known(port, options) for port in program.ports]
    return [port.name for port in ports if port.is_tensor and port.shape is None]


def inputs_named(options: VerifyOptions) -> list[str]:
    """The inputs of which the caller says anything."""
    return [*options.shapes, *options.inputs]


def choose_feed(program: TorchProgram, options: VerifyOptions) -> TorchFeed:
    """The first way to feed a program that it accepts.

    Raises:
        UsageError, UncheckedError: as `example_arguments`.
    """
    refused: UncheckedError | None = None
    for feed in _feeds(program, options):
        try:
            program.run(draw_leaves(feed, options, sample=0))
        except UncheckedError as error:
            refused = refused or error
        else:
            return feed
    fed = ", ".join(f"{port.name}={','.join(map(str, port.shape))}" for port in program.ports if port.shape)
    given = fed or ", ".join(f"{name}={','.join(map(str, shape))}" for name, shape in options.shapes.items())
    raise UncheckedError(f"{refused} (fed with {given or 'nothing'}); give --shape or --input, or --no-verify")


def draw_leaves(feed: TorchFeed, options: VerifyOptions, sample: int) -> list[Any]:
    """The leaves of the arguments of one sample: the caller's values where there are any, else drawn, or a constant."""
    rng = np.random.default_rng([options.seed, sample])
    return [_argument(port, feed, options, rng, sample) for port in feed.ports]


def name_of_sample(feed: TorchFeed, options: VerifyOptions, sample: int) -> str:
    """How messages call a sample: by number, and by distribution where that is a choice."""
    drawn = (port for port in feed.ports if port.is_tensor and port.name not in options.inputs)
    if any(port.dtype in FLOATS or np.dtype(port.dtype).kind == "c" for port in drawn):
        return f"sample {sample} ({DISTRIBUTIONS[sample % len(DISTRIBUTIONS)][0]})"
    return f"sample {sample}"


def count_samples(feed: TorchFeed, options: VerifyOptions) -> int:
    """How many samples are worth comparing: one where nothing is drawn."""
    drawn = any(port.is_tensor and port.name not in options.inputs for port in feed.ports)
    return options.samples if drawn else 1


def _feeds(program: TorchProgram, options: VerifyOptions) -> Iterator[TorchFeed]:
    """Types that nothing says are tried: that of the weights first, then integers."""
    ports = [_known(port, options) for port in program.ports]
    _refuse_unknown_names(ports, options)
    _refuse_unknown_shapes(ports)
    weights = program.float_types() - {np.dtype(np.float64)} or program.float_types()
    natural = min(weights, key=lambda dtype: dtype.itemsize, default=np.dtype(np.float32))
    open_ports = [port.name for port in ports if port.is_tensor and port.dtype is None]
    for kinds in product((natural, np.dtype(np.int64)), repeat=min(len(open_ports), 4)):
        chosen = dict(zip(open_ports, kinds, strict=False))
        typed = tuple(_typed(port, chosen.get(port.name, natural)) for port in ports)
        integral = any(port.is_tensor and port.dtype is not None and port.dtype.kind in "iu" for port in typed)
        for bound in _INTEGERS_BELOW if integral else _INTEGERS_BELOW[:1]:
            yield TorchFeed(typed, bound)


def _known(port: TorchPort, options: VerifyOptions) -> TorchPort:
    """A port with what the caller said of it, under the name that the caller used."""
    if port.alias in inputs_named(options):
        port = replace(port, name=port.alias)
    values, shape = options.inputs.get(port.name), options.shapes.get(port.name)
    if values is not None:
        shape = values.shape if shape is None else shape
        if tuple(shape) != values.shape:
            raise UsageError(
                f"the shape {shape} given for input {port.name!r} is not that of its values, {values.shape}"
            )
        if port.is_tensor or port.type == "Optional[Tensor]":
            return replace(port, type="Tensor", dtype=port.dtype or values.dtype, shape=values.shape)
        if values.size != 1:
            raise UsageError(f"input {port.name!r} of type {port.type} takes a single value, got shape {values.shape}")
        return replace(port, constant=_plain(values, port.type), is_optional=True)
    if shape is not None and (port.is_tensor or port.type == "Optional[Tensor]"):
        return replace(port, type="Tensor", shape=tuple(shape))
    return port


def _plain(values: Array, kind: str) -> object:
    """A value as TorchScript takes it: it makes no float of an int."""
    value = values.item()
    plain = next((plain for plain in (bool, int, float) if plain.__name__ in kind), None)
    return value if plain is None else plain(value)


def _typed(port: TorchPort, dtype: "np.dtype[Any]") -> TorchPort:
    if not port.is_tensor or port.dtype is not None:
        return port
    return replace(port, dtype=dtype)


def _refuse_unknown_names(ports: Sequence[TorchPort], options: VerifyOptions) -> None:
    names = [port.name for port in ports]
    for name in (*options.shapes, *options.inputs):
        if name not in names:
            raise UsageError(f"the model has no input {name!r}: its inputs are {', '.join(names) or 'none'}")


def _refuse_unknown_shapes(ports: Sequence[TorchPort]) -> None:
    """Ask for what nothing says, and show all inputs."""
    inputs = ", ".join(f"{port.name} ({port.type})" for port in ports)
    unknown = [port.name for port in ports if port.is_tensor and port.shape is None]
    if unknown:
        asked = " ".join(f"--shape {name}=1,3,224,224" for name in unknown)
        raise UsageError(f"nothing says the shapes of the inputs: give them, like {asked}; the inputs are {inputs}")
    untold = next((port for port in ports if not port.is_tensor and not port.is_optional), None)
    if untold is not None:
        raise UsageError(
            f"nothing says the value of input {untold.name!r} of type {untold.type}: give --input, "
            f"or --no-verify; the inputs are {inputs}"
        )


def _argument(port: TorchPort, feed: TorchFeed, options: VerifyOptions, rng: np.random.Generator, sample: int) -> Any:  # noqa: ANN401 - a tensor or any constant
    if not port.is_tensor:
        return port.constant
    assert port.shape is not None, "_refuse_unknown_shapes lets no other port through"
    assert port.dtype is not None, "_typed leaves no other port"
    given = options.inputs.get(port.name)
    values = _drawn(rng, port.dtype, port.shape, feed.integers_below, sample) if given is None else given
    return to_tensor(np.asarray(values).astype(port.dtype))


def _drawn(
    rng: np.random.Generator, dtype: "np.dtype[Any]", shape: tuple[int, ...], integers_below: int, sample: int
) -> Array:
    if dtype.kind == "b":
        return np.asarray(rng.integers(0, 2, shape))
    if dtype.kind in "iu" and dtype.itemsize >= 4:
        return np.asarray(rng.integers(0, integers_below, shape))
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        return np.asarray(rng.integers(limits.min, limits.max, shape, dtype, endpoint=True))
    draw = DISTRIBUTIONS[sample % len(DISTRIBUTIONS)][1]
    return np.asarray(draw(rng, shape) + 1j * draw(rng, shape) if dtype.kind == "c" else draw(rng, shape))
