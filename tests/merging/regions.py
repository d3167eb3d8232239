"""One random region of parallel branches for every seed: most of them merge, wholly or in part, and some must not."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import onnx
from onnx import helper, numpy_helper

CHANNELS = (1, 2, 4, 6)


@dataclass(frozen=True)
class Kernel:
    """A convolution or pooling along all axes."""

    size: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    before: tuple[int, ...]
    behind: tuple[int, ...]


@dataclass
class Region:
    """A graph that is being drawn.

    Attributes:
        random: what everything is drawn from.
        inputs: channels of x.
        outputs: channels of the sum.
        lengths: of x along its spatial axes.
        made: of what every branch makes.
        strides: of most branches.
        front: of a region whose channels are behind, the tensor with them in front that branches may share.
    """

    random: np.random.Generator
    inputs: int = 1
    outputs: int = 1
    lengths: tuple[int, ...] = ()
    made: tuple[int, ...] = ()
    strides: tuple[int, ...] = ()
    front: str = ""
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    tensors: dict[str, np.ndarray] = field(default_factory=dict)
    seen: list[str] = field(default_factory=list)

    def pick(self, choices):
        return choices[self.random.integers(len(choices))]

    def chance(self, share: float) -> bool:
        return bool(self.random.random() < share)

    def whole(self, low: int, high: int) -> int:
        return int(self.random.integers(low, high + 1))

    def constant(self, values) -> str:
        name = f"c{len(self.tensors)}"
        self.tensors[name] = np.asarray(values, np.float32)
        return name

    def node(self, op_type: str, inputs: list[str], **attributes) -> str:
        output = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(op_type, inputs, [output], f"n{len(self.nodes)}", **attributes))
        return output

    @property
    def keeps_shape(self) -> bool:
        return self.inputs == self.outputs and self.lengths == self.made


def generate(seed: int) -> onnx.ModelProto:
    """The model of a seed: opset 17, IR version 8, float32. Lengths that are not fixed have names like d0_7.

    With the length in the name, it is a model that runs; with another, perhaps.
    """
    random = np.random.default_rng(seed)
    region = Region(random)
    axes = region.pick([1, 2, 2, 2, 2, 3])
    region.inputs = region.pick(CHANNELS)
    region.outputs = region.inputs if region.chance(0.6) else region.pick(CHANNELS)
    region.lengths = tuple(region.whole(3, 9 if axes < 3 else 5) for _ in range(axes))
    if region.chance(0.6):
        region.strides, region.made = (1,) * axes, region.lengths
    else:
        region.strides = tuple(region.pick([1, 1, 2, 3]) for _ in range(axes))
        region.made = tuple(
            max(1, (length - 1) // stride + region.pick([0, 1, 1]))
            for length, stride in zip(region.lengths, region.strides, strict=True)
        )
    x = region.node("Relu", ["x"]) if region.chance(0.3) else "x"
    count = region.pick([2, 2, 3, 3, 4, 5])
    if region.chance(0.15):
        region.front = _turned(region, x, to_front=True)
        y = summed(region, [turned_branch(region, x, first=place == 0) for place in range(count)])
    else:
        y = behind(region, summed(region, [branch(region, x, first=place == 0) for place in range(count)]))
    return model(region, y)


def turned_branch(region: Region, x: str, *, first: bool) -> str:
    """A branch of a tensor with the channels behind, made with them in front."""
    if region.keeps_shape and region.chance(0.3):
        scale = region.constant(region.random.normal(size=region.inputs))
        return region.node("Mul", [x, scale]) if region.chance(0.5) else x
    front = region.front if region.chance(0.5) else _turned(region, x, to_front=True)
    return _turned(region, branch(region, front, first=first), to_front=False)


def _turned(region: Region, x: str, *, to_front: bool) -> str:
    """Channels to the front or to the back; now and then, other axes change places as well."""
    places = list(range(len(region.lengths)))
    if region.chance(0.05) and len(set(region.lengths)) == len(set(region.made)) == 1:
        places.reverse()
    if to_front:
        permutation = [0, len(places) + 1, *(place + 1 for place in places)]
    else:
        permutation = [0, *(place + 2 for place in places), 1]
    return region.node("Transpose", [x], perm=permutation)


def branch(region: Region, x: str, *, first: bool) -> str:
    """One operand of the sum: of x, or of something that is no linear function of x; the first has all channels."""
    if not first and region.chance(0.02):
        return _one_channel(region, x)
    if region.keeps_shape and region.chance(0.25):
        return _mapped(region, x, region.inputs, 0.7)
    kinds: list[Callable[[Region, str], str]] = [_conv] * 6 + [_pointwise_first, _pointwise_last] * 2
    kinds += [_pool, _mapped_first, _unrelated, _broadcast]
    end = region.pick(kinds)(region, x)
    end = _mapped(region, end, region.outputs, 0.5)
    if region.chance(0.06):
        region.seen.append(region.node("Tanh", [end]) if region.chance(0.5) else end)
    elif region.chance(0.03):
        region.seen.append(region.node("Cast", [region.node("Shape", [end])], to=1))
    return end


def summed(region: Region, ends: list[str]) -> str:
    """The ends, added in any order by any operators."""
    left = [ends[place] for place in region.random.permutation(len(ends))]
    while len(left) > 1:
        count = min(len(left), region.pick([2, 2, 2, 3, 4]))
        taken = [left.pop(region.whole(0, len(left) - 1)) for _ in range(count)]
        op_type = "Sum" if count > 2 else region.pick(["Add", "Add", "Add", "Sub", "Sum"])
        made = region.node(op_type, taken)
        if region.chance(0.05):
            region.seen.append(made)
        left.append(made)
    return left[0]


def behind(region: Region, y: str) -> str:
    """What follows the sum."""
    y = _mapped(region, y, region.outputs, 0.3)
    return region.node("Relu", [y]) if region.chance(0.3) else y


def model(region: Region, y: str) -> onnx.ModelProto:
    fixed = region.chance(0.5)
    space = region.lengths if fixed else [f"d{axis}_{length}" for axis, length in enumerate(region.lengths)]
    shape = (2, *space, region.inputs) if region.front else (2, region.inputs, *space)
    outputs = list(dict.fromkeys(["y", *region.seen]))
    nodes = [*region.nodes, helper.make_node("Identity", [y], ["y"], "last")]
    graph = helper.make_graph(
        nodes,
        "region",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(values, name) for name, values in region.tensors.items()],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    proto = onnx.shape_inference.infer_shapes(proto)
    for entry in proto.graph.output:
        if not entry.type.tensor_type.HasField("shape"):  # one length stands against another of unknown size
            entry.CopyFrom(helper.make_tensor_value_info(entry.name, onnx.TensorProto.FLOAT, [None] * len(shape)))
    del proto.graph.value_info[:]
    return proto


def _kernel(region: Region, *, largest: int = 4, pads: bool = True) -> Kernel | None:
    """A kernel that makes as many places as every branch; None where padding alone cannot bring that about."""
    entries = []
    for length, made, stride in zip(region.lengths, region.made, region.strides, strict=True):
        size, dilation = region.pick([*range(1, largest + 1), 1, 3, 3]), region.pick([1, 1, 1, 2])
        own = region.pick([1, 2, 3]) if region.chance(0.05) else stride
        span = dilation * (size - 1) + 1
        totals = [total for total in range(9) if (length + total - span) >= 0]
        totals = [total for total in totals if (length + total - span) // own + 1 == made and (pads or total == 0)]
        if not totals:
            return None
        # What is least is what RepVGG and its kin do; more of it looks at other places, or leaves the last ones out.
        total = totals[0] if region.chance(0.8) else region.pick(totals)
        before = total // 2 if region.chance(0.85) else region.whole(0, total)
        entries.append((size, own, dilation, before, total - before))
    return Kernel(*zip(*entries, strict=True))


def _fitting(region: Region, **options) -> Kernel | None:
    for _ in range(20):
        found = _kernel(region, **options)
        if found is not None:
            return found
    return None


def _geometry(region: Region, kernel: Kernel) -> dict:
    attributes = {
        "kernel_shape": kernel.size,
        "strides": kernel.strides,
        "dilations": kernel.dilations,
        "pads": (*kernel.before, *kernel.behind),
    }
    if not any(attributes["pads"]) and region.chance(0.3):
        attributes["auto_pad"] = "VALID"
        del attributes["pads"]
    same = all(
        made == -(-length // stride)
        for length, made, stride in zip(region.lengths, region.made, kernel.strides, strict=True)
    )
    if same and set(kernel.dilations) == {1} and region.chance(0.2):
        attributes["auto_pad"] = region.pick(["SAME_UPPER", "SAME_LOWER"])
        attributes.pop("pads", None)
    return attributes


def _weighted(region: Region, x: str, inputs: int, outputs: int, size: tuple[int, ...], **attributes) -> str:
    groups = region.pick([group for group in range(1, inputs + 1) if inputs % group == 0 and outputs % group == 0])
    weight = region.random.normal(size=(outputs, inputs // groups, *size)) / np.sqrt(inputs // groups * np.prod(size))
    biases = [region.constant(region.random.normal(size=outputs))] if region.chance(0.5) else []
    return region.node("Conv", [x, region.constant(weight), *biases], group=groups, **attributes)


def _conv(region: Region, x: str) -> str:
    kernel = _fitting(region)
    if kernel is None:
        return _unrelated(region, x)
    return _weighted(region, x, region.inputs, region.outputs, kernel.size, **_geometry(region, kernel))


def _one_channel(region: Region, x: str) -> str:
    """Linear in x, and added to all channels."""
    kernel = _fitting(region)
    if kernel is None:
        return _unrelated(region, x)
    return _weighted(region, x, region.inputs, 1, kernel.size, **_geometry(region, kernel))


def _pointwise_first(region: Region, x: str) -> str:
    """1x1, then a wide kernel; either may pad."""
    kernel, middle = _fitting(region), region.pick(CHANNELS)
    if kernel is None:
        return _unrelated(region, x)
    axes = len(region.lengths)
    if region.chance(0.6):
        first = {"pads": (*kernel.before, *kernel.behind)}
        kernel = Kernel(kernel.size, kernel.strides, kernel.dilations, (0,) * axes, (0,) * axes)
    else:
        first = {}
    inner = _weighted(region, x, region.inputs, middle, (1,) * axes, **first)
    inner = _mapped(region, inner, middle, 0.5)
    attributes = {"strides": kernel.strides, "dilations": kernel.dilations, "pads": (*kernel.before, *kernel.behind)}
    narrow = all(max(pads) < size for *pads, size in zip(kernel.before, kernel.behind, kernel.size, strict=True))
    if region.chance(0.3) and middle == region.outputs and set(kernel.dilations) == {1} and narrow:
        del attributes["dilations"]
        return region.node("AveragePool", [inner], kernel_shape=kernel.size, count_include_pad=1, **attributes)
    return _weighted(region, inner, middle, region.outputs, kernel.size, **attributes)


def _pointwise_last(region: Region, x: str) -> str:
    """A wide kernel, then 1x1, which may have the strides."""
    kernel, middle = _fitting(region), region.pick(CHANNELS)
    if kernel is None:
        return _unrelated(region, x)
    strides = (1,) * len(region.lengths)
    first, last = (strides, kernel.strides) if region.chance(0.3) else (kernel.strides, strides)
    inner = _weighted(
        region,
        x,
        region.inputs,
        middle,
        kernel.size,
        strides=first,
        dilations=kernel.dilations,
        pads=(*kernel.before, *kernel.behind),
    )
    return _weighted(region, inner, middle, region.outputs, (1,) * len(strides), strides=last)


def _pool(region: Region, x: str) -> str:
    kernel = _fitting(region, largest=3)
    if kernel is None or region.inputs != region.outputs or set(kernel.dilations) != {1}:
        return _conv(region, x)
    before = [min(front, size - 1) for front, size in zip(kernel.before, kernel.size, strict=True)]
    behind_ = [min(back, size - 1) for back, size in zip(kernel.behind, kernel.size, strict=True)]
    if (tuple(before), tuple(behind_)) != (kernel.before, kernel.behind):
        return _conv(region, x)
    return region.node(
        "AveragePool",
        [x],
        kernel_shape=kernel.size,
        strides=kernel.strides,
        pads=(*before, *behind_),
        count_include_pad=region.pick([0, 1, 1]),
    )


def _mapped_first(region: Region, x: str) -> str:
    """A map in front of a kernel, whose shift the padding may keep from being a bias."""
    return _conv(region, _mapped(region, x, region.inputs, 1.0))


def _unrelated(region: Region, x: str) -> str:
    """No linear function of x, but of its shape."""
    inner = region.node("Sigmoid", [region.node("GlobalAveragePool", [x])])
    return _weighted(region, inner, region.inputs, region.outputs, (1,) * len(region.lengths))


def _broadcast(region: Region, x: str) -> str:
    """Linear in x, and added to all places."""
    inner = region.node("GlobalAveragePool", [x])
    return _weighted(region, inner, region.inputs, region.outputs, (1,) * len(region.lengths))


def _mapped(region: Region, value: str, channels: int, share: float) -> str:
    """With so much chance, a BatchNorm or a constant behind it."""
    if not region.chance(share):
        return value
    vector = (channels, *(1,) * len(region.lengths))
    kind = region.pick(["BatchNormalization"] * 3 + ["Mul", "Add", "Sub"])
    if kind == "BatchNormalization":
        scale, bias, mean = (region.random.normal(size=channels) for _ in range(3))
        parameters = [scale, bias, mean, region.random.uniform(0.2, 2, size=channels)]
        return region.node(kind, [value, *map(region.constant, parameters)])
    constant = region.constant(region.random.normal(size=region.pick([vector, vector, ()])))
    operands = [constant, value] if region.chance(0.3) else [value, constant]
    return region.node(kind, operands)
