"""What to feed a program of torch: shapes and types from the caller, from examples and from the graph, values drawn."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from typing import Any

import numpy as np

from bnfold.errors import UncheckedError, UsageError
from bnfold.keywords import keyword
from bnfold.verification import VerifyOptions
from bnfold.verifier.programs.opening import open_program
from bnfold.verifier.programs.ports import TorchPort
from bnfold.verifier.programs.program import TorchProgram
from bnfold.verifier.programs.tensors import Array, to_tensor
from bnfold.verifier.run.inputs import distinct_samples, draw, name_of_draw
from bnfold.verifier.run.settings import INTEGERS_BELOW, Setting, one_sample


@dataclass(frozen=True)
class TorchFeed:
    """One way to feed a program.

    Attributes:
        ports: its arguments, every tensor that is fed with shape and dtype.
        integers_below: the bound of integers.
        options: of the check.
    """

    ports: tuple[TorchPort, ...]
    integers_below: int
    options: VerifyOptions

    @cached_property
    def tensors(self) -> tuple[TorchPort, ...]:
        """The arguments that are tensors."""
        return tuple(port for port in self.ports if port.is_tensor)

    @property
    def samples(self) -> int:
        """How many are worth comparing: no more than the caller's values hold where nothing is drawn."""
        return distinct_samples(self.tensors, self.options)

    def name(self, sample: int) -> str:
        """How messages call a sample."""
        return name_of_draw(self.tensors, self.options, sample)

    def leaves(self, sample: int) -> list[Any]:
        """The leaves of the arguments of one sample: the caller's values where there are any, else drawn, or constants.

        Raises:
            UsageError: the caller's values are of a dtype that the input cannot take.
        """
        shapes = {port.name: port.sizes or () for port in self.tensors}
        drawn = draw(self.tensors, Setting(shapes, self.integers_below), self.options, sample)
        return [to_tensor(drawn[port.name]) if port.is_tensor else port.constant for port in self.ports]


def example_arguments(model: object, options: VerifyOptions | None = None) -> list[Any]:
    """Arguments that a ScriptModule or an ExportedProgram runs on: the first sample of a check.

    Those of an ExportedProgram are flat.

    Raises:
        UsageError: nothing says the shape of an input, or the options name one that is not there.
        UncheckedError: the program does not run on anything that was tried.
    """
    options = options or VerifyOptions()
    program = open_program("the original", model, inputs_named(options))
    return program.arguments(choose_feed(program, options).leaves(0))


def inputs_without_shape(model: object, options: VerifyOptions) -> list[str]:
    """The inputs of a ScriptModule or an ExportedProgram whose shapes neither it nor the caller says."""
    program = open_program("the original", model, inputs_named(options))
    ports = [_known(port, options) for port in program.ports]
    return [port.name for port in ports if port.is_tensor and port.sizes is None]


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
            program.calls([feed.leaves(0)])
        except UncheckedError as error:
            refused = refused or error
        else:
            return feed
    fed = ", ".join(f"{port.name}={','.join(map(str, port.sizes))}" for port in program.ports if port.sizes)
    given = fed or ", ".join(f"{name}={','.join(map(str, shape))}" for name, shape in options.shapes.items())
    raise UncheckedError(
        f"{refused} (fed with {given or 'nothing'}); give {keyword('shapes')} or {keyword('VerifyOptions.inputs')}"
    )


def _feeds(program: TorchProgram, options: VerifyOptions) -> Iterator[TorchFeed]:
    """Types that nothing says are tried: that of the weights first, then integers."""
    ports = [_known(port, options) for port in program.ports]
    _refuse_unknown_names(ports, options)
    _refuse_unknown_shapes(ports)
    weights = program.float_types() - {np.dtype(np.float64)} or program.float_types()
    natural = min(weights, key=lambda dtype: dtype.itemsize, default=np.dtype(np.float32))
    untyped = [port.name for port in ports if port.is_tensor and port.dtype is None]
    for kinds in product((natural, np.dtype(np.int64)), repeat=min(len(untyped), 4)):
        chosen = dict.fromkeys(untyped, natural) | dict(zip(untyped, kinds, strict=False))
        typed = tuple(replace(port, dtype=chosen.get(port.name, port.dtype)) for port in ports)
        integral = any(port.is_tensor and port.dtype is not None and port.dtype.kind in "iu" for port in typed)
        for bound in INTEGERS_BELOW if integral else INTEGERS_BELOW[:1]:
            yield TorchFeed(typed, bound, options)


def _known(port: TorchPort, options: VerifyOptions) -> TorchPort:
    """A port with what the caller said of it, under the name that the caller used."""
    if port.alias in inputs_named(options):
        port = replace(port, name=port.alias)
    values, sizes = options.inputs.get(port.name), options.shapes.get(port.name)
    is_tensor = port.is_tensor or port.type == "Optional[Tensor]"
    if values is not None and not is_tensor:
        if values.size != 1:
            raise UsageError(f"input {port.name!r} of type {port.type} takes a single value, got shape {values.shape}")
        return replace(port, constant=_plain(values, port.type), is_optional=True)
    if sizes is not None and is_tensor:
        port = replace(port, type="Tensor", shape=tuple(sizes), sizes=tuple(sizes))
    if values is not None:
        row = one_sample(port.shape, values.shape)
        if sizes is not None and row != tuple(sizes):
            raise UsageError(
                f"the shape {tuple(sizes)} given for input {port.name!r} is not that of its values, {values.shape}"
            )
        return replace(port, type="Tensor", dtype=port.dtype or values.dtype, sizes=row)
    return port


def _plain(values: Array, kind: str) -> object:
    """A value as TorchScript takes it: it makes no float of an int."""
    value = values.item()
    plain = next((plain for plain in (bool, int, float) if plain.__name__ in kind), None)
    return value if plain is None else plain(value)


def _refuse_unknown_names(ports: Sequence[TorchPort], options: VerifyOptions) -> None:
    names = [port.name for port in ports]
    for name in inputs_named(options):
        if name not in names:
            raise UsageError(f"the model has no input {name!r}: its inputs are {', '.join(names) or 'none'}")


def _refuse_unknown_shapes(ports: Sequence[TorchPort]) -> None:
    """Ask for what nothing says, and show all inputs."""
    inputs = ", ".join(f"{port.name} ({port.type})" for port in ports)
    unknown = [port.name for port in ports if port.is_tensor and port.sizes is None]
    if unknown:
        asked = keyword("shapes", dict.fromkeys(unknown, (1, 3, 224, 224)))
        raise UsageError(f"nothing says the shapes of the inputs: give them, like {asked}; the inputs are {inputs}")
    untold = next((port for port in ports if not port.is_tensor and not port.is_optional), None)
    if untold is not None:
        raise UsageError(
            f"nothing says the value of input {untold.name!r} of type {untold.type}: give "
            f"{keyword('VerifyOptions.inputs')}, or {keyword('verify', False)}; the inputs are {inputs}"
        )
