"""Which sizes the free dimensions of a model get: as the caller says, as weights want, else the first that run."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from math import prod
from typing import Literal, TypeAlias

from bnfold.errors import UncheckedError, UsageError
from bnfold.verification import VerifyOptions
from bnfold.verifier.models.signature import Port, in_brackets
from bnfold.verifier.run.wanted import NOTHING, Key, Wanted

Shape: TypeAlias = tuple[int, ...]
Declared: TypeAlias = Sequence[int | str | None]
Role: TypeAlias = Literal["batch", "channels", "extent"]

# Small enough to be quick, large enough that a deep network still has more than one pixel at its end; then the sizes
# that image networks insist on, then those of short sequences and of lists, and of sound.
_SIZES = (64, 224, 32, 128, 256, 16, 8, 3, 2, 1, 299, 320, 384, 512, 640, 1024, 2048, 4096, 8000, 16000, 48000)
_CHANNELS = (3, 1, 4)
_IMAGE = 4
_MOST_FREE, _MOST_SAID_TOGETHER, _MOST_UNSAID = 5, 3, 7
_MOST_VALUES = 2**22
# Integers may index a table whose length only the graph knows: as many values as it bears.
INTEGERS_BELOW = (8, 2, 1)
# A second setting: a batch that is not 1, and extents that are not the first ones.
_OTHER_BATCH = 3
_OTHER_EXTENTS: tuple[Callable[[int], int], ...] = (
    lambda size: size + size // 2 if size > 1 else 2,
    lambda size: 2 * size,
    lambda size: max(1, size // 2),
    lambda size: size,
)


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

    @property
    def is_small(self) -> bool:
        """Whether a wrong guess fails in a moment."""
        return max(map(prod, self.shapes.values()), default=0) <= _MOST_VALUES


class Settings:
    """The ways to feed a model: what is known of the sizes of its inputs, and what may be chosen.

    Args:
        inputs: of the model.
        options: what the caller says of them.
        wanted: what the graph says of them, where neither the file nor the caller does.

    Raises:
        UsageError: options name an input or a symbol that the model does not have, or contradict what it declares.
    """

    def __init__(self, inputs: Sequence[Port], options: VerifyOptions, wanted: Wanted = NOTHING) -> None:
        given = _given_shapes(inputs, options)
        known = {**wanted.sizes}
        known.update(_sizes_of_symbols(inputs, given, options).items())
        self._inputs, self._bounds = inputs, wanted.bounds
        self._free: dict[Key, Role] = {}
        self._shapes: dict[str, tuple[int | Key, ...]] = {}
        for port in inputs:
            declared = given.get(port.name, port.shape)
            keys = [(port.name, axis) if size is None else size for axis, size in enumerate(declared)]
            sizes = tuple(key if isinstance(key, int) else known.get(key, key) for key in keys)
            last_are_channels = keys[-1:] and (keys[-1] in _CHANNELS or keys[-1] in wanted.sizes)
            for axis, key in enumerate(sizes):
                if not isinstance(key, int):
                    is_channels = axis == 1 and len(sizes) >= _IMAGE and not last_are_channels
                    self._free.setdefault(key, "batch" if axis == 0 else "channels" if is_channels else "extent")
            self._shapes[port.name] = sizes

    def natural(self) -> Iterator[Setting]:
        """Every distinct filling of what is still free, the most natural one first; exactly one if nothing is.

        A first dimension without a size is taken for the batch and tried as 1 first, the second one of four or more for
        the channels unless the last one is known to be these, every other for an extent. Where there are integers,
        several bounds for them.

        Raises:
            UncheckedError: an input is of a type that cannot be drawn.
        """
        for port in self._inputs:
            if port.dtype is None:
                raise UncheckedError(f"the check cannot draw input {port.name!r} of type {port.type}")
        integral = any(port.dtype is not None and port.dtype.kind in "iu" for port in self._inputs)
        seen: list[Mapping[str, Shape]] = []
        for batch_is_one, extent in product((True, False), _SIZES):
            sizes = {"batch": 1 if batch_is_one else extent, "channels": _CHANNELS[0], "extent": extent}
            setting = self._filled({key: sizes[role] for key, role in self._free.items()})
            if setting.shapes not in seen and (not seen or setting.is_small):
                seen.append(setting.shapes)
                for bound in INTEGERS_BELOW if integral else INTEGERS_BELOW[:1]:
                    yield replace(setting, integers_below=bound)

    def further(self, said: Sequence[int]) -> Iterator[Setting]:
        """Where none of these is taken: every free dimension has a size of its own.

        Args:
            said: numbers that onnxruntime named when it refused the others.
        """
        pools = [(1, *said[:_MOST_SAID_TOGETHER]), *((1, size, _SIZES[0]) for size in (*said, *_SIZES[1:_MOST_UNSAID]))]
        for pool in pools if 0 < len(self._free) <= _MOST_FREE else ():
            for choice in product(dict.fromkeys(pool), repeat=len(self._free)):
                setting = self._filled(dict(zip(self._free, choice, strict=True)))
                if setting.is_small:
                    yield setting

    def others(self, first: Setting) -> Iterator[Setting]:
        """Other sizes wherever they are free: batch and extents, either alone. Channels stay."""
        now = {
            key: size for name, keys in self._shapes.items() for key, size in zip(keys, first.shapes[name], strict=True)
        }
        other_batch = {key: 1 if size == _OTHER_BATCH else _OTHER_BATCH for key, size in now.items()}
        for batch, change in product((other_batch, now), _OTHER_EXTENTS):
            sizes = {"batch": batch, "channels": now, "extent": {key: change(size) for key, size in now.items()}}
            setting = self._filled({key: sizes[role][key] for key, role in self._free.items()})
            if setting.shapes != first.shapes and setting.is_small:
                yield replace(setting, integers_below=first.integers_below)

    def _filled(self, chosen: Mapping[Key, int]) -> Setting:
        shapes = {
            name: tuple(key if isinstance(key, int) else chosen[key] for key in keys)
            for name, keys in self._shapes.items()
        }
        return Setting(shapes, bounds=self._bounds)


def _given_shapes(inputs: Sequence[Port], options: VerifyOptions) -> dict[str, Shape]:
    ports = {port.name: port for port in inputs}
    given = {name: tuple(map(int, shape)) for name, shape in options.shapes.items()}
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
    declared, got = in_brackets(port.shape), in_brackets(shape)
    if port.shape and len(shape) != len(port.shape):
        raise UsageError(f"input {port.name!r} has {len(port.shape)} dimensions {declared}, got {len(shape)}: {got}")
    if any(isinstance(size, int) and size != fed for size, fed in zip(port.shape, shape, strict=False)):
        raise UsageError(f"input {port.name!r} is declared {declared}, got {got}")


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
