"""onnxruntime, made quiet, literal and one-line.

onnxruntime is imported when the first session is made, not when this module is.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from enum import Enum
from functools import partial
from threading import Event, Timer
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bnfold.errors import UncheckedError, UsageError
from bnfold.processors import is_shared, usable
from bnfold.pulse import beat
from bnfold.verifier.models.bfloat16 import widened
from bnfold.verifier.models.dtypes import BFLOAT16
from bnfold.verifier.models.load import Model
from bnfold.verifier.models.segments import Segments, can_be_cut
from bnfold.verifier.models.signature import Port, Signature, declared_shape
from bnfold.verifier.run.complaints import complaint, one_line
from bnfold.verifier.run.parallel import half_of_the_processors
from bnfold.verifier.run.segmented import CannotBeCutError, Segmented
from bnfold.verifier.run.values import to_array, to_value

if TYPE_CHECKING:
    import onnxruntime

Feeds = Mapping[str, Any]
"""Values by the name of the input: an array each, or a list of arrays for a sequence."""

CPU = "CPUExecutionProvider"
_DATA_FOLDER = "session.model_external_initializers_file_folder_path"


_FLOAT32 = np.dtype(np.float32)
_MOST_COPIED = 2**28
"""Bytes of large weights of which onnxruntime may make copies of its own, in another order or multiplied out."""
_COPYING = ("NchwcTransformer", "ConvBNFusion", "ConvMulFusion", "MatMul_BatchNormalization_Fusion")
"""Its optimisers that do that. Where weights are larger, they are left out, and kernels read them as they are."""
_FATAL = 4  # the level of a log in which what comes as an exception is not told twice
LONGEST_RUN = 600.0
"""Seconds. A model may have a loop without an end."""


class EndlessError(UncheckedError):
    """A run of a model takes too long, whatever it is fed with."""


class Level(Enum):
    """How much onnxruntime may change a graph before it runs it."""

    AS_WRITTEN = "ORT_DISABLE_ALL"
    """Nothing. At any other level onnxruntime folds BatchNorms itself, and a comparison with that proves nothing."""
    DEFAULT = "ORT_ENABLE_ALL"
    """What a session does to whom nobody says otherwise: what a deployed model meets."""


@dataclass(frozen=True)
class Observation:
    """One run of a model.

    Attributes:
        outputs: of the graph, in order: an array each, or a list, dict or None of them where the model says so.
        tensors: further tensors of the graph by name.
    """

    outputs: list[object]
    tensors: dict[str, object]


class Session:
    """One model on onnxruntime.

    Args:
        model: the model.
        exposed: tensors of its graph to be seen; not its outputs.
        level: what onnxruntime may change.
        provider: the execution provider; what it has no kernel for runs on the CPU.
        weights: values of initializers in place of those of the model.
        without: names of onnxruntime's optimisers that are left out.
        may_be_cut: whether a long model may become several sessions, one behind the other.

    Attributes:
        exposed: the same.
        signature: inputs and outputs of the model itself.

    Raises:
        RefusedError: onnxruntime does not take the model.
        UncheckedError: memory ran out.
    """

    def __init__(
        self,
        model: Model,
        *,
        exposed: Sequence[str] = (),
        level: Level = Level.AS_WRITTEN,
        provider: str = CPU,
        weights: Mapping[str, npt.NDArray[Any]] | None = None,
        without: Sequence[str] = (),
        may_be_cut: bool = True,
    ) -> None:
        self.role = model.role
        self.exposed = tuple(exposed)
        setup = _Setup(exposed, level, provider, without, may_be_cut)
        try:
            self._opened = _open_or_emulate(model, setup, weights or {})
        except UncheckedError:
            raise
        except Exception as error:  # onnxruntime's exceptions have no common base
            raise complaint(error, "load", self.role) from error
        session = self._opened.session
        outputs = self._opened.ports(session.get_outputs())
        own = len(outputs) - len(self.exposed)
        declared = {entry.name: declared_shape(entry) for entry in model.proto.graph.input}
        inputs = self._opened.ports(session.get_inputs())
        self.signature = Signature(  # onnxruntime does not say what the tensors of a sequence are like: the file may
            inputs=tuple(replace(port, shape=port.shape or declared.get(port.name, ())) for port in inputs),
            overridable=self._opened.ports(session.get_overridable_initializers()),
            outputs=outputs[:own],
        )
        self._dtypes = {port.name: port.dtype for port in outputs if port.dtype is not None}
        self._has_only_tensors = all(_is_tensor(port) for port in self.signature.inputs + outputs)

    def run(self, feeds: Feeds) -> list[object]:
        """The outputs of the graph.

        Raises:
            RefusedError: onnxruntime cannot run the model on these inputs.
            UncheckedError: memory ran out.
        """
        return self.observe(feeds, ()).outputs

    def observe(self, feeds: Feeds, tensors: Sequence[str]) -> Observation:
        """The outputs of the graph, and some of its exposed tensors.

        Raises:
            RefusedError, UncheckedError: as `run`.
        """
        own = [port.name for port in self.signature.outputs]
        names = [*own, *tensors]
        beat()
        with _ended_after(LONGEST_RUN) as (settings, has_ended):
            try:
                values = (
                    self._run_on_tensors(names, feeds, settings)
                    if self._has_only_tensors
                    else self._opened.session.run(names, {**feeds}, settings)
                )
            except Exception as error:
                if has_ended():
                    raise EndlessError(f"one run of {self.role} was ended after {LONGEST_RUN:g} seconds") from error
                raise complaint(error, "run", self.role) from error
        return Observation(list(values[: len(own)]), dict(zip(tensors, values[len(own) :], strict=True)))

    def _run_on_tensors(self, names: Sequence[str], feeds: Feeds, settings: "onnxruntime.RunOptions") -> list[object]:
        narrow = self._opened.narrow
        values = {name: to_value(array) for name, array in (widened(feeds) if narrow else feeds).items()}
        made = self._opened.session.run_with_ort_values(list(names), values, settings)
        return [
            to_array(value, _FLOAT32).astype(dtype) if name in narrow else to_array(value, dtype)
            for name, dtype, value in zip(names, map(self._dtypes.__getitem__, names), made, strict=True)
        ]


@contextmanager
def _ended_after(seconds: float) -> "Iterator[tuple[onnxruntime.RunOptions, Callable[[], bool]]]":
    """Options of a run that is ended from outside if it takes too long, and whether it was."""
    import onnxruntime

    settings = onnxruntime.RunOptions()
    settings.log_severity_level = _FATAL
    ended = Event()

    def end() -> None:
        ended.set()
        settings.terminate = True

    timer = Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        yield settings, ended.is_set
    finally:
        timer.cancel()


def require_provider(provider: str) -> None:
    """Raise UsageError where this onnxruntime does not have an execution provider."""
    import onnxruntime

    known = onnxruntime.get_available_providers()
    if provider not in known:
        raise UsageError(f"this onnxruntime has no provider {provider!r}: it has {', '.join(known)}")


def require_libraries(libraries: Sequence[str]) -> None:
    """Raise UsageError where onnxruntime cannot load one of these libraries of operators."""
    import onnxruntime

    for library in libraries:
        try:
            onnxruntime.SessionOptions().register_custom_ops_library(library)
        except Exception as error:  # onnxruntime's exceptions have no common base
            raise UsageError(f"{library} is no library of operators: {one_line(error)}") from error


@dataclass(frozen=True)
class _Setup:
    """How a session is made.

    Attributes:
        exposed: tensors to be seen.
        level: what onnxruntime may change.
        provider: the execution provider.
        without: optimisers that are left out.
        may_be_cut: whether it may be several sessions.
        packs: whether kernels may copy weights in an order of their own.
        threads: how many work on one operator; 0 leaves it to onnxruntime.
    """

    exposed: Sequence[str]
    level: Level
    provider: str
    without: Sequence[str]
    may_be_cut: bool
    packs: bool = True
    threads: int = 0


@dataclass(frozen=True)
class _Opened:
    """A session.

    Attributes:
        session: onnxruntime's, or several of its.
        given: values of initializers, which it reads where they are, as long as it runs.
        narrow: inputs and outputs of bfloat16 that the session has in float32.
    """

    session: "onnxruntime.InferenceSession | Segmented"
    given: "Mapping[str, onnxruntime.OrtValue]"
    narrow: frozenset[str] = frozenset()

    def ports(self, arguments: list[Any]) -> tuple[Port, ...]:
        """Inputs or outputs of the model."""
        types = ("tensor(bfloat16)" if argument.name in self.narrow else argument.type for argument in arguments)
        return tuple(Port(entry.name, kind, tuple(entry.shape)) for entry, kind in zip(arguments, types, strict=True))


def _open_or_emulate(model: Model, setup: _Setup, weights: Mapping[str, npt.NDArray[Any]]) -> _Opened:
    """The model as it is; where onnxruntime does not take it, without bfloat16 arithmetic, if that is what it has."""
    try:
        return _open(model, setup, weights)
    except Exception:
        emulated = model.emulated
        if emulated is None:
            raise
        ends = (*model.proto.graph.input, *model.proto.graph.output)
        narrow = frozenset(entry.name for entry in ends if entry.type.tensor_type.elem_type == BFLOAT16)
        return replace(_open(emulated, setup, widened(weights)), narrow=narrow)


def _open(model: Model, setup: _Setup, weights: Mapping[str, npt.NDArray[Any]]) -> _Opened:
    given = {name: to_value(values) for name, values in ({**model.beside, **weights}).items()}
    if model.bytes_outside > _MOST_COPIED:
        setup = replace(setup, packs=False, without=(*setup.without, *_COPYING))
    if setup.may_be_cut and can_be_cut(model):
        segments = Segments(model, setup.exposed)
        one_of_many = replace(setup, threads=max(1, half_of_the_processors() // len(segments)))
        with suppress(CannotBeCutError):
            return _Opened(Segmented(segments, partial(_made, one_of_many, given)), given)
    return _Opened(_made(replace(setup, threads=_threads(setup.level)), given, model, setup.exposed), given)


def _threads(level: Level) -> int:
    """How many a session of a whole model takes; 0 leaves it to onnxruntime."""
    if level is Level.AS_WRITTEN:
        return half_of_the_processors()
    return usable() if is_shared() else 0


def _made(
    setup: _Setup, given: "Mapping[str, onnxruntime.OrtValue]", model: Model, exposed: Sequence[str]
) -> "onnxruntime.InferenceSession":
    """One session.

    Args:
        setup: how it is made.
        given: values of initializers, of which the model may have some only.
        model: the model, or a segment of it.
        exposed: tensors of its graph to be seen.
    """
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, setup.level.value)
    settings.log_severity_level = _FATAL
    for library in model.libraries:
        settings.register_custom_ops_library(library)
    settings.intra_op_num_threads = setup.threads
    # Threads that wait for work by turning in circles take the processor from whatever else runs on the machine.
    settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
    own = {tensor.name for tensor in model.proto.graph.initializer if tensor.name in given}
    outside = sorted(own & model.outside.keys())
    if outside:
        settings.add_external_initializers(outside, [given[name] for name in outside])
    for name in own.difference(outside):
        settings.add_initializer(name, given[name])
    if model.files.folder:  # for the data of bodies, which are not the graph's own
        settings.add_session_config_entry(_DATA_FOLDER, os.fsencode(model.files.folder))
    if not setup.packs:
        settings.add_session_config_entry("session.disable_prepacking", "1")
    # Without enable_fallback=0, onnxruntime prints its errors to stdout and tries again.
    return onnxruntime.InferenceSession(
        model.exposing(exposed),
        settings,
        providers=list(dict.fromkeys((setup.provider, CPU))),
        enable_fallback=0,
        disabled_optimizers=list(setup.without),
    )


def _is_tensor(port: Port) -> bool:
    """Whether it is a tensor of numbers, always."""
    return port.type.startswith("tensor(") and port.dtype is not None and port.dtype.kind != "O"
