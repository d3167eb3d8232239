"""How much of a tensor a subgraph has to be run on: where it treats all samples or all places alike, a crop.

Convolutions, BatchNorms and what works number by number do the same at every place of an image. What is wrong in their
weights shows in a crop with room for a few outputs, one of which at least sees no border; its borders are padded like
the image's. What treats samples alike can be run on as many as one likes.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bnfold.verifier.models.changed import ChangedTensor
from bnfold.verifier.models.graph import Structure, is_standard

if TYPE_CHECKING:
    from onnx import NodeProto, TensorProto

CONVOLUTIONS = frozenset(("Conv", "ConvTranspose"))
ARITHMETIC = frozenset(("Abs", "Add", "Clip", "Div", "Exp", "Identity", "Mul", "Neg", "Sqrt", "Sub"))
ACTIVATIONS = frozenset(("Elu", "HardSigmoid", "HardSwish", "LeakyRelu", "PRelu", "Relu", "Selu", "Sigmoid", "Tanh"))
OF_SEVERAL = frozenset(("Max", "Mean", "Min", "Sum"))
_NUMBER_BY_NUMBER = ARITHMETIC | ACTIVATIONS | OF_SEVERAL | {"Cast"}
_PRODUCTS = frozenset(("Gemm", "MatMul"))
_OF_SAMPLES = frozenset(("AveragePool", "Flatten", "GlobalAveragePool", "GlobalMaxPool", "MaxPool"))
_OF_AXES = frozenset(("ReduceMean", "ReduceSum", "Squeeze", "Unsqueeze"))
_ALONG_AXES = _OF_AXES | {"Concat", "Flatten", "Reshape", "Slice", "Softmax", "Split", "Transpose"}
_KEEP_SHAPE = frozenset(("Cast", "DequantizeLinear", "Identity"))
_WITHOUT_STEPS = 4
_NO_END = 2**31 - 1  # or larger
_OUTPUTS = 9
_BEFORE_THE_PLACES = 2
_MATRIX = 2


@dataclass(frozen=True)
class Window:
    """The receptive field of the outputs of a convolution on one axis.

    Attributes:
        length: how many places one output sees, from the first to the last.
        stride: how far the windows of neighbouring outputs are from each other.
        padding: how many places outside of the image the first and the last output see.
    """

    length: int
    stride: int
    padding: tuple[int, int] = (0, 0)

    def side(self, outputs: int) -> int:
        """How many places make so many outputs, one of which at least sees no padding."""
        whole = self.length + (self.stride - 1 if any(self.padding) else 0)
        return max(whole, self.length + self.stride * (outputs - 1) - sum(self.padding))

    @property
    def change_of_size(self) -> tuple[int, int]:
        """Of a Conv: where it is the same, images of any size become equally large."""
        return self.length - sum(self.padding), self.stride

    @property
    def first(self) -> int:
        """The first place that as many outputs see as any."""
        return max(0, self.length - 1 - min(self.padding)) if self.length > self.stride else 0

    @property
    def least_side(self) -> int:
        """How many places it takes so that every number of the kernel meets one that as many outputs see as any."""
        return 2 * self.first + min(self.length, self.stride)


@dataclass(frozen=True)
class Crop:
    """What both subgraphs of a changed tensor need.

    Attributes:
        any_samples: whether any number of samples will do.
        side: how many places of each axis are enough; None where all are needed.
        window: the largest receptive field on any axis, the largest stride, and the least padding, where `side` is
            not None.
        groups: so many groups of channels, one behind the other, have outputs of their own, where `side` is not None.
    """

    any_samples: bool = False
    side: int | None = None
    window: Window = Window(1, 1)
    groups: int = 1


def crop_of(changed: ChangedTensor, original: Structure, new: Structure, shapes: Mapping[str, Sequence[int]]) -> Crop:
    """What the subgraphs of a changed tensor need.

    Args:
        changed: the changed tensor.
        original: the one model.
        new: the other one.
        shapes: of the tensors in its boundary.
    """
    known = [shapes[name] for name in changed.boundary]
    if len({(*shape[:1], *shape[2:]) for shape in known}) != 1:  # what is joined has as many samples and places
        return Crop()
    shape = known[0]
    held = [values.map for name in (changed.name, *changed.boundary) if (values := new.held.get(name))]
    if any(values.varies_along(0) for values in held):
        return Crop()
    parts = [
        [graph.nodes[index] for index in part if graph.nodes[index].output[0] not in graph.constants]
        for graph, part in ((original, changed.original), (new, changed.new))
    ]
    both = list(zip((original, new), parts, strict=True))
    changes_rank = any(node.op_type in ("Flatten", "Reshape", *_OF_AXES) for part in parts for node in part)
    least_rank = _MATRIX if changes_rank else len(shape)
    if least_rank < _MATRIX or not all(
        _alike_in_samples(node, graph, shape[0], least_rank) for graph, part in both for node in part
    ):
        return Crop()
    axes = len(shape) - _BEFORE_THE_PLACES
    if any(values.varies_along(axis) for values in held for axis in range(_BEFORE_THE_PLACES, len(shape))):
        return Crop(any_samples=True)
    if axes < 1 or not all(_alike_in_places(node, graph, axes) for graph, part in both for node in part):
        return Crop(any_samples=True)
    seen = [_windows(graph, part) for graph, part in both]
    if not all(map(_fit_together, parts, seen)):
        return Crop(any_samples=True)
    windows = [window for of_part in seen for windows in of_part for window in windows]
    outputs = math.ceil(math.pow(_OUTPUTS, 1 / axes))
    side = max((window.side(outputs) for window in windows), default=outputs)
    return Crop(True, side, _largest(windows), _groups(parts, shape[1]))


def _largest(windows: Sequence[Window]) -> Window:
    """What is enough for all of them."""
    every = windows or [Window(1, 1)]
    least = min(min(window.padding) for window in every)
    return Window(max(window.length for window in every), max(window.stride for window in every), (least, least))


def _groups(parts: "Sequence[Sequence[NodeProto]]", channels: int) -> int:
    """That all convolutions have; without any, each channel is one by itself."""
    found = {
        next((int(entry.i) for entry in node.attribute if entry.name == "group"), 1)
        for part in parts
        for node in part
        if node.op_type in CONVOLUTIONS
    }
    groups = found.pop() if len(found) == 1 else 1 if found else channels
    return groups if channels % groups == 0 else 1


def _fit_together(part: "Sequence[NodeProto]", windows: Sequence[Sequence[Window]]) -> bool:
    """Whether the convolutions of a part make of any crop what can be joined: one alone, or branches beside each other.

    A second one in a row may see little of what the first makes of a crop.
    """
    if len(windows) <= 1:
        return True
    behind: set[str] = set()
    for node in part:
        is_behind = not behind.isdisjoint(node.input)
        if node.op_type in CONVOLUTIONS and (is_behind or node.op_type != "Conv"):
            return False
        if node.op_type in CONVOLUTIONS or is_behind:
            behind.update(node.output)
    return all(len({window.change_of_size for window in axis}) == 1 for axis in zip(*windows, strict=True))


def _windows(graph: Structure, part: "Sequence[NodeProto]") -> list[list[Window]]:
    """Of each convolution, one for each axis. Every output of a ConvTranspose sees every place that is near enough."""
    found = []
    for node in part:
        kernel = _kernel(node, graph) if node.op_type in CONVOLUTIONS else []
        if kernel:
            ones = [1] * len(kernel)
            spans = [(size - 1) * by + 1 for size, by in zip(kernel, _integers(node, "dilations", ones), strict=True)]
            strides = _integers(node, "strides", ones) if node.op_type == "Conv" else ones
            padding = _padding(node, spans) if node.op_type == "Conv" else [(0, 0)] * len(kernel)
            found.append([Window(*axis) for axis in zip(spans, strides, padding, strict=True)])
    return found


def _padding(node: "NodeProto", spans: Sequence[int]) -> list[tuple[int, int]]:
    """How many places a Conv of fixed padding adds to each axis, before and behind it."""
    match _auto_pad(node):
        case "NOTSET":
            pads = _integers(node, "pads", [0] * 2 * len(spans))
            return list(zip(pads[: len(spans)], pads[len(spans) :], strict=True))
        case "VALID":
            return [(0, 0)] * len(spans)
        case _:
            return [((span - 1) // 2, span // 2) for span in spans]


def _pads_by_size(node: "NodeProto") -> bool:
    """Whether the padding depends on how large the image is (ONNX Conv-22): with steps of one place it does not."""
    automatic = _auto_pad(node)
    if node.op_type == "ConvTranspose":
        return automatic != "NOTSET"
    return automatic.startswith("SAME") and any(step != 1 for step in _integers(node, "strides", []))


def _auto_pad(node: "NodeProto") -> str:
    return next((entry.s.decode() for entry in node.attribute if entry.name == "auto_pad"), "NOTSET")


def _integers(node: "NodeProto", name: str, default: list[int]) -> list[int]:
    return next(([int(size) for size in entry.ints] for entry in node.attribute if entry.name == name), default)


def _kernel(node: "NodeProto", graph: Structure) -> list[int]:
    """How long the kernel of a convolution is on each axis; [] where its weight is computed and nothing says it."""
    weight = graph.parameter(_of_the_same_shape(node.input[1], graph))
    said = next((entry.ints for entry in node.attribute if entry.name == "kernel_shape"), ())
    return [int(size) for size in (said if weight is None else weight.dims[2:])]


def _of_the_same_shape(name: str, graph: Structure) -> str:
    """What a constant is made of number by number: the integers in front of a DequantizeLinear."""
    while name in graph.producers and name in graph.constants:
        node = graph.nodes[graph.producers[name]]
        if node.op_type not in _KEEP_SHAPE or not is_standard(node):
            break
        name = node.input[0]
    return name


def _alike_in_samples(node: "NodeProto", graph: Structure, samples: int, least_rank: int) -> bool:
    """Whether what a node makes of a sample does not depend on the others.

    Args:
        node: the node.
        graph: that it is in.
        samples: how many there are in the model.
        least_rank: that any tensor of the subgraph may have: parameters of fewer axes are the same for all samples.
    """
    if not is_standard(node):
        return False
    if node.op_type in CONVOLUTIONS | {"BatchNormalization"}:
        return _has_one_variable(node, graph) and len(node.output) == 1 and not _fixes_its_size(node)
    if node.op_type in _PRODUCTS:
        weight = graph.parameter(node.input[1])
        turned = any(entry.name == "transA" and entry.i for entry in node.attribute)
        return weight is not None and len(weight.dims) == _MATRIX and _has_one_variable(node, graph) and not turned
    if node.op_type in _ALONG_AXES:
        return _works_within_samples(node, graph, samples)
    if node.op_type in _OF_SAMPLES:
        return True
    return node.op_type in _NUMBER_BY_NUMBER and all(
        tensor is not None and (len(tensor.dims) < least_rank or tensor.dims[0] == 1)
        for tensor in _parameters(node, graph)
    )


def _works_within_samples(node: "NodeProto", graph: Structure, samples: int) -> bool:
    """The same of what moves or joins values along axes that it names."""
    match node.op_type:
        case "Flatten":
            return all(entry.i == 1 for entry in node.attribute)
        case "Transpose":
            return any(list(entry.ints)[:1] == [0] for entry in node.attribute)
        case "Reshape":
            sizes = _stored_integers(node, 1, graph)
            return len(sizes) > 1 and sizes[0] in (0, samples) and min(sizes) >= 0
        case "Slice":
            return _has_one_variable(node, graph) and _takes_all_samples(node, graph)
        case "Concat" | "Split" | "Softmax":
            return any(entry.name == "axis" and entry.i >= 1 for entry in node.attribute)
        case _:
            return min(_axes(node, graph), default=0) >= 1


def _axes(node: "NodeProto", graph: Structure) -> list[int]:
    """That a node names, in an attribute or a stored input; [] where they are computed or left out."""
    return _stored_integers(node, 1, graph) if len(node.input) > 1 else _integers(node, "axes", [])


def _stored_integers(node: "NodeProto", place: int, graph: Structure) -> list[int]:
    """What a node reads at a place; [] where it is computed or left out."""
    name = node.input[place] if len(node.input) > place else ""
    return [int(number) for number in graph.array(name).reshape(-1)] if graph.parameter(name) is not None else []


def _takes_all_samples(node: "NodeProto", graph: Structure) -> bool:
    """Whether a Slice leaves the first axis whole (Slice-1 to -13): some exporters name it too, from 0 to no end."""
    if len(node.input) == 1:
        return min(_integers(node, "axes", []), default=0) >= 1
    starts, ends, axes, steps = (_stored_integers(node, place, graph) for place in range(1, 5))
    if 0 not in axes:
        return min(axes, default=-1) >= 1
    first = axes.index(0)
    by_one = len(node.input) == _WITHOUT_STEPS or steps[first:][:1] == [1]
    return starts[first:][:1] == [0] and ends[first:][:1] >= [_NO_END] and by_one


def _fixes_its_size(node: "NodeProto") -> bool:
    return any(attribute.name == "output_shape" for attribute in node.attribute)


def _alike_in_places(node: "NodeProto", graph: Structure, axes: int) -> bool:
    if node.op_type in CONVOLUTIONS:
        return bool(_kernel(node, graph)) and not _pads_by_size(node)
    if node.op_type == "BatchNormalization":
        return True
    if node.op_type in ("Concat", "Split"):
        return any(entry.name == "axis" and entry.i == 1 for entry in node.attribute)
    return node.op_type in _NUMBER_BY_NUMBER and all(
        tensor is not None and len(tensor.dims) <= axes + _BEFORE_THE_PLACES and set(tensor.dims[-axes:]) <= {1}
        for tensor in _parameters(node, graph)
    )


def _parameters(node: "NodeProto", graph: Structure) -> "list[TensorProto | None]":
    return [graph.parameter(name) for name in node.input if name in graph.constants]


def _has_one_variable(node: "NodeProto", graph: Structure) -> bool:
    """Whether all that a node reads but its first input is constant."""
    return node.input[0] not in graph.constants and all(name in graph.constants for name in node.input[1:] if name)
