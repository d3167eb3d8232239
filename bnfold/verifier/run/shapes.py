"""Which sizes the free dimensions of a model get: as the caller says, else the first that the model runs with."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from math import prod

from bnfold.errors import UncheckedError, UsageError
from bnfold.verification import VerifyOptions
from bnfold.verifier.models.signature import Port
from bnfold.verifier.run.wanted_sizes import Wants

Shape = tuple[int, ...]

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
class Setting:
    """One way to feed a model.

    Attributes:
        shapes: of each input.
        integers_below: the bound under which integers stay of which the graph does not say one.
        bounds: those of which it does, by the name of the input.
    """

    shapes: Mapping[str, Shape]
    integers_below: int
    bounds: Mapping[str, int] = field(default_factory=dict)


def settings(
    inputs: Sequence[Port], options: VerifyOptions, bounds: Mapping[str, int] | None = None, wants: Wants | None = None
) -> Iterator[Setting]:
    """Ways to feed a model, the most natural one first.

    A first dimension without a size is taken for the batch and tried as 1 first, the second one of four or more for
    the channels, every other for an extent. One symbol has one size everywhere.

    Args:
        inputs: of the model.
        options: what the caller says of them.
        bounds: below which integers have to stay.
        wants: sizes that the graph wants, where neither the inputs nor the caller say one.

    Raises:
        UsageError: options name an input or a symbol that the model does not have, or contradict what it declares.
        UncheckedError: an input is of a type that cannot be drawn.
    """
    for port in inputs:
        if port.dtype is None:
            raise UncheckedError(f"the check cannot draw input {port.name!r} of type {port.type}")
    given = _given_shapes(inputs, options)
    sizes = _given_sizes(inputs, given, options)
    wanted = _with_wants(inputs, sizes, wants or {})
    integral = any(port.dtype is not None and port.dtype.kind in "iu" for port in inputs)
    for shapes in _guesses(wanted, given, sizes):
        for bound in INTEGERS_BELOW if integral else INTEGERS_BELOW[:1]:
            yield Setting(shapes, bound, bounds or {})


def further_settings(
    inputs: Sequence[Port],
    options: VerifyOptions,
    bounds: Mapping[str, int],
    wants: Wants,
    said: Sequence[int],
) -> Iterator[Setting]:
    """Ways to feed a model that takes none of `settings`: every free dimension has a size of its own.

    Args:
        inputs: of the model.
        options: what the caller says of them.
        bounds: below which integers have to stay.
        wants: as of `settings`.
        said: numbers that onnxruntime named when it refused the others.
    """
    given = _given_shapes(inputs, options)
    sizes = _given_sizes(inputs, given, options)
    ports = [port for port in _with_wants(inputs, sizes, wants) if port.name not in given]
    free = list(dict.fromkeys(key for port in ports for key in _free(port, sizes)))
    pools = [(1, *said[:_MOST_SAID_TOGETHER]), *((1, size, _SIZES[0]) for size in (*said, *_FURTHER_SIZES))]
    for pool in pools if 0 < len(free) <= _MOST_FREE else ():
        for choice in product(dict.fromkeys(pool), repeat=len(free)):
            chosen = dict(zip(free, choice, strict=True))
            shapes = {port.name: _chosen(port, sizes, chosen) for port in ports} | given
            if max(map(prod, shapes.values()), default=0) <= _MOST_VALUES:
                yield Setting(shapes, INTEGERS_BELOW[0], bounds)


_Key = str | tuple[str, int]
"""Of a free dimension: its symbol, or the input and the axis."""


def _free(port: Port, sizes: Mapping[str, int]) -> Iterator[_Key]:
    for axis, size in enumerate(port.shape):
        if size is None:
            yield port.name, axis
        elif isinstance(size, str) and size not in sizes:
            yield size


def _chosen(port: Port, sizes: Mapping[str, int], chosen: Mapping[_Key, int]) -> Shape:
    return tuple(
        chosen[port.name, axis] if size is None else size if isinstance(size, int) else sizes.get(size) or chosen[size]
        for axis, size in enumerate(port.shape)
    )


def _with_wants(inputs: Sequence[Port], sizes: dict[str, int], wants: Wants) -> list[Port]:
    """The inputs with sizes where the graph wants them; those of symbols are entered into the given ones."""
    ports = []
    for port in inputs:
        shape = list(port.shape)
        for axis, wanted in wants.get(port.name, {}).items():
            if not -len(shape) <= axis < len(shape):
                continue
            size = shape[axis]
            if isinstance(size, str):
                sizes.setdefault(size, wanted)
            elif size is None:
                shape[axis] = wanted
        ports.append(replace(port, shape=tuple(shape)))
    return ports


def other_settings(
    inputs: Sequence[Port], options: VerifyOptions, first: Setting, wants: Wants | None = None
) -> Iterator[Setting]:
    """Ways to feed a model with other sizes wherever it leaves them free: batch and extents, either alone.

    Nothing where nothing is free, or where the caller has said all sizes. The second dimension of four or more is taken
    for the channels again, and stays.
    """
    given = _given_shapes(inputs, options)
    sizes = _given_sizes(inputs, given, options)
    inputs = _with_wants(inputs, sizes, wants or {})
    for batch, extents in product((True, False), (_OTHER_EXTENTS, _SAME_EXTENT)):
        for change in extents:
            shapes = _changed(inputs, given, sizes, first, batch, change)
            small = max(map(prod, shapes.values()), default=0) <= _MOST_VALUES
            if shapes != dict(first.shapes) and small:
                yield Setting(shapes, first.integers_below, first.bounds)


def require_known_names(inputs: Sequence[Port], options: VerifyOptions) -> None:
    """Raise UsageError where options name what a model does not have, or contradict what it declares."""
    _given_sizes(inputs, _given_shapes(inputs, options), options)


def _changed(
    inputs: Sequence[Port],
    given: Mapping[str, Shape],
    sizes: Mapping[str, int],
    first: Setting,
    batch: bool,
    change: Callable[[int], int],
) -> dict[str, Shape]:
    """The first shapes with other sizes where they are free; one symbol has one size everywhere."""
    filled = dict(sizes)

    def other(port: Port, axis: int, size: int | str | None, now: int) -> int:
        if port.name in given or isinstance(size, int) or (axis == 1 and _has_channels(port.shape)):
            return now
        new = (_OTHER_BATCH if now != _OTHER_BATCH else 1) if axis == 0 and batch else now if axis == 0 else change(now)
        return new if size is None else filled.setdefault(size, new)

    return {
        port.name: tuple(
            other(port, axis, size, now)
            for axis, (size, now) in enumerate(zip(port.shape, first.shapes[port.name], strict=True))
        )
        if port.shape
        else first.shapes[port.name]
        for port in inputs
    }


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


def _given_sizes(inputs: Sequence[Port], given: Mapping[str, Shape], options: VerifyOptions) -> dict[str, int]:
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


def _guesses(
    inputs: Sequence[Port], given: Mapping[str, Shape], sizes: Mapping[str, int]
) -> Iterator[dict[str, Shape]]:
    """Every distinct filling of the dimensions that are still free; exactly one if none is."""
    seen: list[dict[str, Shape]] = []
    ranks = _ELEMENT_RANKS if any(port.is_sequence and not port.shape for port in inputs) else (0,)
    for rank, batch_is_one, channels, extent in product(ranks, (True, False), _CHANNELS, _SIZES):
        filled = dict(sizes)
        batch = 1 if batch_is_one else extent
        shapes = {
            port.name: given[port.name] if port.name in given else _fill(port, filled, batch, channels, extent, rank)
            for port in inputs
        }
        if shapes not in seen and (not seen or max(map(prod, shapes.values())) <= _MOST_VALUES):
            seen.append(shapes)
            yield shapes


def _has_channels(shape: Sequence[int | str | None]) -> bool:
    """Whether the second axis holds channels, as in an image. Where few come last, these are the channels."""
    return len(shape) >= _IMAGE and shape[-1] not in _CHANNELS


def _fill(port: Port, sizes: dict[str, int], batch: int, channels: int, extent: int, rank: int) -> Shape:
    """The shape of a port; sizes of symbols that are met first here are entered into the given ones."""
    shape = []
    declared = (None,) * rank if port.is_sequence and not port.shape else port.shape
    for axis, size in enumerate(declared):
        guess = batch if axis == 0 else channels if axis == 1 and _has_channels(declared) else extent
        shape.append(size if isinstance(size, int) else guess if size is None else sizes.setdefault(size, guess))
    return tuple(shape)
