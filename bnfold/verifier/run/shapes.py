"""Which sizes the free dimensions of a model get: as the caller says, else the first that the model runs with."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from math import prod
from typing import TypeAlias

from bnfold.errors import UncheckedError, UsageError
from bnfold.verification import VerifyOptions
from bnfold.verifier.models.signature import Port
from bnfold.verifier.run.wanted_sizes import Wants

Shape: TypeAlias = tuple[int, ...]
Declared: TypeAlias = Sequence[int | str | None]
Key: TypeAlias = str | tuple[str, int]
"""Of a free dimension: its symbol, which has one size everywhere, or the input and the axis."""

# Small enough to be quick, large enough that a deep network still has more than one pixel at its end; then the
# sizes that image networks insist on, then those of short sequences and of lists,
# and of sound.
_SIZES = (64, 224, 32, 128, 256, 16, 8, 3, 2, 1, 299, 320, 384, 512, 640, 1024, 2048, 4096, 8000, 16000, 48000)
_CHANNELS = (3, 1, 4)
_IMAGE = 4
# Where nothing above fits: each free dimension is one of these, or 1, or the first of those above.
_FURTHER_SIZES = (512, 256, 16, 1024, 4096, 16000)
_MOST_FREE, _MOST_SAID_TOGETHER = 5, 3
# A wrong guess should fail in a moment: no more values than this in an input whose shape is a guess.
_MOST_VALUES = 2**22
# Integers may index a table whose length only the graph knows: as many values as it bears.
INTEGERS_BELOW = (8, 2, 1)
# onnxruntime does not say of which rank the tensors of a sequence are.
_ELEMENT_RANKS = (2, 4, 3, 1, 0)
# A second setting: a batch that is not 1, and extents that are not the first ones.
_OTHER_BATCH = 3
_OTHER_EXTENTS: tuple[Callable[[int], int], ...] = (
    lambda size: size + size // 2 if size > 1 else 2,
    lambda size: 2 * size,
    lambda size: max(1, size // 2),
)
_SAME_EXTENT: tuple[Callable[[int], int], ...] = (lambda size: size,)


@dataclass(frozen=True)
class Dimension:
    """One axis of an input, as it is declared."""

    port: str
    declared: Declared
    axis: int

    @property
    def key(self) -> Key:
        """What has the same size."""
        symbol = self.declared[self.axis]
        return symbol if isinstance(symbol, str) else (self.port, self.axis)

    @property
    def is_batch(self) -> bool:
        """Whether it is taken for the batch."""
        return self.axis == 0

    @property
    def is_channels(self) -> bool:
        """Whether it is taken for the channels, as of an image. Where few come last, these are the channels."""
        return self.axis == 1 and len(self.declared) >= _IMAGE and self.declared[-1] not in _CHANNELS


@dataclass(frozen=True)
class Setting:
    """One way to feed a model.

    Attributes:
        shapes: of each input.
        integers_below: the bound under which integers stay of which the graph does not say one.
        bounds: those of which it does, by the name of the input.
    """

    shapes: Mapping[str, Shape]
    integers_below: int = INTEGERS_BELOW[0]
    bounds: Mapping[str, int] = field(default_factory=dict)


class Sizes:
    """What is known of the sizes of a model's inputs, and what may be chosen.

    Args:
        inputs: of the model.
        options: what the caller says of them.
        wants: sizes that the graph wants, where neither the inputs nor the caller say one.

    Raises:
        UsageError: options name an input or a symbol that the model does not have, or contradict what it declares.
    """

    def __init__(self, inputs: Sequence[Port], options: VerifyOptions, wants: Wants | None = None) -> None:
        self._inputs = inputs
        self._given = _given_shapes(inputs, options)
        self._known: dict[Key, int] = dict(_sizes_of_symbols(inputs, self._given, options).items())
        for port in inputs:
            for axis, wanted in (wants or {}).get(port.name, {}).items():
                if -len(port.shape) <= axis < len(port.shape):
                    self._known.setdefault(Dimension(port.name, port.shape, axis % len(port.shape)).key, wanted)

    def natural(self) -> Iterator[dict[str, Shape]]:
        """Every distinct filling of what is still free, the most natural one first; exactly one if nothing is.

        A first dimension without a size is taken for the batch and tried as 1 first, the second one of four or more for
        the channels, every other for an extent.
        """
        seen: list[dict[str, Shape]] = []
        ranks = _ELEMENT_RANKS if any(port.is_sequence and not port.shape for port in self._inputs) else (0,)
        for rank, batch_is_one, channels, extent in product(ranks, (True, False), _CHANNELS, _SIZES):
            shapes = self._filled(_by_role(1 if batch_is_one else extent, channels, extent), rank)
            if shapes not in seen and (not seen or _is_small(shapes)):
                seen.append(shapes)
                yield shapes

    def further(self, said: Sequence[int]) -> Iterator[dict[str, Shape]]:
        """Where none of these is taken: every free dimension has a size of its own.

        Args:
            said: numbers that onnxruntime named when it refused the others.
        """
        free: dict[Key, int] = {}
        self._filled(lambda dimension: free.setdefault(dimension.key, 1))
        pools = [(1, *said[:_MOST_SAID_TOGETHER]), *((1, size, _SIZES[0]) for size in (*said, *_FURTHER_SIZES))]
        for pool in pools if 0 < len(free) <= _MOST_FREE else ():
            for choice in product(dict.fromkeys(pool), repeat=len(free)):
                chosen = dict(zip(free, choice, strict=True))
                shapes = self._filled(lambda dimension, chosen=chosen: chosen[dimension.key])  # type: ignore[misc]
                if _is_small(shapes):
                    yield shapes

    def others(self, first: Mapping[str, Shape]) -> Iterator[dict[str, Shape]]:
        """Other sizes wherever they are free: batch and extents, either alone.

        Nothing where nothing is free, or where the caller has said all sizes. Channels stay.
        """
        for changes_batch, extents in product((True, False), (_OTHER_EXTENTS, _SAME_EXTENT)):
            for change in extents:
                shapes = self._filled(_changed(first, change, changes_batch=changes_batch))
                shapes = {name: shape or first[name] for name, shape in shapes.items()}
                if shapes != dict(first) and _is_small(shapes):
                    yield shapes

    def _filled(self, choose: Callable[[Dimension], int], rank: int = 0) -> dict[str, Shape]:
        """All shapes; what is chosen for a symbol where it is met first holds everywhere.

        Args:
            choose: the size of a free dimension.
            rank: of the tensors of a sequence of which nothing says one.
        """
        known, shapes = dict(self._known), {}
        for port in self._inputs:
            declared = (None,) * rank if port.is_sequence and not port.shape else port.shape
            sizes = []
            for axis, size in enumerate(declared if port.name not in self._given else ()):
                dimension = Dimension(port.name, declared, axis)
                if not isinstance(size, int) and dimension.key not in known:
                    known[dimension.key] = choose(dimension)
                sizes.append(size if isinstance(size, int) else known[dimension.key])
            shapes[port.name] = self._given.get(port.name, tuple(sizes))
        return shapes


def _by_role(batch: int, channels: int, extent: int) -> Callable[[Dimension], int]:
    return lambda dimension: batch if dimension.is_batch else channels if dimension.is_channels else extent


def _changed(
    first: Mapping[str, Shape], change: Callable[[int], int], *, changes_batch: bool
) -> Callable[[Dimension], int]:
    def changed(dimension: Dimension) -> int:
        now = first[dimension.port][dimension.axis]
        if dimension.is_batch:
            return now if not changes_batch else 1 if now == _OTHER_BATCH else _OTHER_BATCH
        return now if dimension.is_channels else change(now)

    return changed


def _is_small(shapes: Mapping[str, Shape]) -> bool:
    return max(map(prod, shapes.values()), default=0) <= _MOST_VALUES


def settings(
    inputs: Sequence[Port], options: VerifyOptions, bounds: Mapping[str, int] | None = None, wants: Wants | None = None
) -> Iterator[Setting]:
    """Ways to feed a model, the most natural one first.

    Args:
        inputs: of the model.
        options: what the caller says of them.
        bounds: below which integers have to stay.
        wants: as of `Sizes`.

    Raises:
        UsageError: as `Sizes`.
        UncheckedError: an input is of a type that cannot be drawn.
    """
    for port in inputs:
        if port.dtype is None:
            raise UncheckedError(f"the check cannot draw input {port.name!r} of type {port.type}")
    integral = any(port.dtype is not None and port.dtype.kind in "iu" for port in inputs)
    for shapes in Sizes(inputs, options, wants).natural():
        for bound in INTEGERS_BELOW if integral else INTEGERS_BELOW[:1]:
            yield Setting(shapes, bound, bounds or {})


def _given_shapes(inputs: Sequence[Port], options: VerifyOptions) -> dict[str, Shape]:
    ports = {port.name: port for port in inputs}
    given = {name: tuple(shape) for name, shape in options.shapes.items()}
    for name, array in options.inputs.items():
        port = ports.get(name)
        shape = one_sample(port.shape, array.shape) if port is not None else array.shape
        shape = shape[1:] if port is not None and port.is_sequence else shape
        if given.setdefault(name, shape) != shape:
            raise UsageError(f"the shape {given[name]} given for input {name!r} is not that of its values, {shape}")
    for name, shape in given.items():
        if name not in ports:
            raise UsageError(f"the model has no input {name!r}: its inputs are {', '.join(ports) or 'none'}")
        _refuse_contradiction(ports[name], shape)
    return given


def one_sample(declared: Sequence[int | str | None], shape: Shape) -> Shape:
    """The shape of one sample in an array of several: its first size is the declared one where that divides it."""
    first = declared[0] if declared else None
    if isinstance(first, int) and first > 0 and len(shape) == len(declared) and shape[0] and shape[0] % first == 0:
        return (first, *shape[1:])
    return shape


def _refuse_contradiction(port: Port, shape: Shape) -> None:
    if not port.shape:
        return
    declared = ", ".join("?" if size is None else str(size) for size in port.shape)
    if len(shape) != len(port.shape):
        raise UsageError(
            f"input {port.name!r} has {len(port.shape)} dimensions [{declared}], got {len(shape)}: {list(shape)}"
        )
    if any(isinstance(size, int) and size != got for size, got in zip(port.shape, shape, strict=True)):
        raise UsageError(f"input {port.name!r} is declared [{declared}], got {list(shape)}")


def _sizes_of_symbols(inputs: Sequence[Port], given: Mapping[str, Shape], options: VerifyOptions) -> dict[str, int]:
    """Sizes of symbols: those asked for, and those that follow from a shape that was given."""
    symbols = {size for port in inputs for size in port.shape if isinstance(size, str)}
    for symbol in options.dims:
        if symbol not in symbols:
            known = ", ".join(sorted(symbols)) or "none"
            raise UsageError(f"no input has a dimension {symbol!r}: the symbolic dimensions are {known}")
    sizes = dict(options.dims)
    for port in inputs:
        for size, got in zip(port.shape, given.get(port.name, ()), strict=False):
            if isinstance(size, str) and sizes.setdefault(size, got) != got and size in options.dims:
                raise UsageError(f"{size}={options.dims[size]} contradicts {list(given[port.name])} for {port.name!r}")
    return sizes
