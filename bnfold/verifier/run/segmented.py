"""A long model as several sessions, one behind the other.

onnxruntime makes a session in time that grows with the square of what the graph stores. Where nodes are run as they are
written, it makes no difference where a graph is cut: the next session is fed with what the ones before have made.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bnfold.verifier.models.load import Model
from bnfold.verifier.models.segments import Segment, Segments
from bnfold.verifier.models.signature import Port

if TYPE_CHECKING:
    import onnxruntime
    from onnx import ValueInfoProto

Open = Callable[[Model, Sequence[str]], "onnxruntime.InferenceSession"]
"""Makes a session of a model, with tensors to be seen beside its outputs."""


class CannotBeCutError(Exception):
    """What goes on at a cut is no tensor that could be fed."""


@dataclass(frozen=True)
class _Part:
    """One session, and the segment that it runs."""

    session: "onnxruntime.InferenceSession"
    segment: Segment


class Segmented:
    """What an InferenceSession of onnxruntime is, as far as it is asked here, for a model that can be cut.

    Args:
        segments: of the model.
        open_one: makes the sessions.

    Raises:
        CannotBeCutError: what goes on is a sequence, say.
        Exception: whatever onnxruntime raises.
    """

    def __init__(self, segments: Segments, open_one: Open) -> None:
        graph = segments.model.proto.graph
        self._declared: dict[str, ValueInfoProto] = {entry.name: entry for entry in (*graph.input, *graph.output)}
        self._inputs = [entry.name for entry in graph.input]
        self._outputs = [*(entry.name for entry in graph.output), *segments.exposed]
        self._known: dict[str, onnxruntime.NodeArg] = {}
        self._parts = [_Part(self._open(segments, segment, open_one), segment) for segment in segments]
        self._last_reader = {name: number for number, part in enumerate(self._parts) for name in part.segment.reads}

    def _open(self, segments: Segments, segment: Segment, open_one: Open) -> "onnxruntime.InferenceSession":
        fed = [name for name in self._inputs if name not in self._known]  # what nobody reads is an input all the same
        made_before = [name for name in segment.reads if name not in fed]
        inputs = [*(self._declared[name] for name in fed), *map(self._declaration, made_before)]
        outputs = [self._declared[name] for name in segment.makes if name in self._declared]
        others = [name for name in segment.makes if name not in self._declared]
        session = open_one(segments.model_of(segment, inputs, outputs), others)
        self._known |= {entry.name: entry for entry in (*session.get_inputs(), *session.get_outputs())}
        return session

    def _declaration(self, name: str) -> "ValueInfoProto":
        """Of a tensor that was made before, or fed."""
        from onnx import helper

        if name in self._inputs:
            return self._declared[name]
        made = self._known.get(name)
        dtype = Port(name, made.type, ()).dtype if made is not None and made.type.startswith("tensor(") else None
        if made is None or dtype is None:
            raise CannotBeCutError(name)
        # It says the same of a scalar and of a tensor of which it does not know how many axes it has. Sizes that it has
        # inferred are none that it insists on, but for those that an input declares.
        sizes = [None] * len(made.shape) or None
        return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(dtype), sizes)

    def get_inputs(self) -> "list[onnxruntime.NodeArg]":
        """As of a session."""
        return [self._known[name] for name in self._inputs]

    def get_outputs(self) -> "list[onnxruntime.NodeArg]":
        """As of a session."""
        return [self._known[name] for name in self._outputs]

    def get_overridable_initializers(self) -> "list[onnxruntime.NodeArg]":
        """As of a session: there are none."""
        return []

    def run(self, names: Collection[str], feeds: Mapping[str, Any], settings: "onnxruntime.RunOptions") -> list[Any]:
        """As of a session."""
        return self._run("run", names, feeds, settings)

    def run_with_ort_values(
        self, names: Collection[str], feeds: "Mapping[str, onnxruntime.OrtValue]", settings: "onnxruntime.RunOptions"
    ) -> "list[onnxruntime.OrtValue]":
        """As of a session."""
        return self._run("run_with_ort_values", names, feeds, settings)

    def _run(
        self, method: str, names: Collection[str], feeds: Mapping[str, Any], settings: "onnxruntime.RunOptions"
    ) -> list[Any]:
        wanted = set(names)
        values = dict(feeds)
        for number, (session, segment) in enumerate((part.session, part.segment) for part in self._parts):
            asked = [name for name in segment.makes if name in wanted or name in segment.goes_on]
            if not asked:
                continue
            fed = [entry.name for entry in session.get_inputs()]
            made = getattr(session, method)(asked, {name: values[name] for name in fed}, settings)
            values |= zip(asked, made, strict=True)
            for name in segment.reads:
                if self._last_reader[name] == number and name not in wanted:
                    del values[name]
        return [values[name] for name in names]
