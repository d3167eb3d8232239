"""What decoders read is what torch computes; with the laws of the rules, this makes a fold correct."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")

from bnfold import rules  # noqa: E402
from bnfold.affine import per_channel  # noqa: E402
from bnfold.refusal import Reason, Refusal  # noqa: E402
from bnfold.semantics import (  # noqa: E402
    AffineMap,
    Commuting,
    Concatenation,
    Contraction,
    Embedding,
    Normalisation,
    Opaque,
    Rearrangement,
    Split,
    Sum,
)
from bnfold.weight import Weight  # noqa: E402
from tests.aten.calls import X, parameter, read  # noqa: E402
from tests.rules.evaluate import apply, evaluate  # noqa: E402

aten = torch.ops.aten


def close(mine, theirs):
    assert mine.shape == theirs.shape
    np.testing.assert_allclose(mine, theirs, rtol=1e-9, atol=1e-9)


def assert_means(kind, operator, *args, **kwargs):
    """The meaning, computed plainly, gives what torch gives."""
    meaning, inputs, results = read(operator, *args, **kwargs)
    assert isinstance(meaning, kind), meaning
    for mine, theirs in zip(evaluate(meaning, inputs), results, strict=True):
        close(mine, theirs)
    return meaning


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("with_bias", [False, True], ids=["no bias", "bias"])
@pytest.mark.parametrize("name", ["conv{}d", "convolution", "_convolution"])
def test_convolution(rank, groups, with_bias, name):
    kernel, ones = (2, 3, 1)[:rank], [1] * rank
    tensors = [X(2, 4, *[4] * rank), parameter(8, 4 // groups, *kernel), parameter(8) if with_bias else None]
    operator = getattr(aten, name.format(rank)).default
    if name == "conv{}d":
        further = [ones, [0] * rank, ones, groups]
    else:
        further = [ones, [0] * rank, ones, False, [0] * rank, groups]
        further += [False, False, False, False] if name == "_convolution" else []
    assert_means(Contraction, operator, *tensors, *further)


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("groups", [1, 2])
def test_convolution_of_one_image_without_a_batch(rank, groups):
    operator = getattr(aten, f"conv{rank}d").default
    x, weight = X(4, *[4] * rank), parameter(6, 4 // groups, *[2] * rank)
    meaning, inputs, (expected,) = read(operator, x, weight, parameter(6), [1] * rank, [0] * rank, [1] * rank, groups)
    batched = Contraction(meaning.weight, None, rank + 2, 1)
    (y,) = evaluate(batched, {0: inputs[0][None]})
    close(y[0] + meaning.bias, expected)
    assert (meaning.output_axis, meaning.input_axis, meaning.output_rank) == (0, 0, rank + 1)


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("with_bias", [False, True], ids=["no bias", "bias"])
@pytest.mark.parametrize("name", ["conv_transpose{}d", "convolution"])
def test_transposed_convolution(rank, groups, with_bias, name):
    """Without strides it is a convolution of the padded input with the kernel turned around."""
    kernel, ones, zeros = (2, 3, 1)[:rank], [1] * rank, [0] * rank
    tensors = [X(2, 4, *[4] * rank), parameter(4, 3, *kernel), parameter(3 * groups) if with_bias else None]
    if name == "convolution":
        call = (aten.convolution.default, *tensors, ones, zeros, ones, True, zeros, groups)
    else:
        packet = getattr(aten, name.format(rank))
        overload = packet.default if rank == 1 else packet.input
        call = (overload, *tensors, ones, zeros, zeros, groups, ones)
    meaning, inputs, (expected,) = read(*call)
    padded = np.pad(inputs[0], [(0, 0), (0, 0), *((size - 1, size - 1) for size in kernel)])
    turned = np.flip(meaning.weight.array, axis=tuple(range(3, 3 + rank)))
    (y,) = evaluate(Contraction(Weight(turned), meaning.bias, meaning.output_rank, meaning.output_axis), {0: padded})
    close(y, expected)


@pytest.mark.parametrize(
    ("operator", "further", "shifts"),
    [
        (aten.conv2d.default, ([1, 1], [0, 0]), True),
        (aten.conv2d.default, ([2, 1], [0, 1]), False),
        (aten.conv2d.padding, ([1, 1], "valid"), True),
        (aten.conv2d.padding, ([1, 1], "same"), False),
        (aten.conv_transpose2d.input, ([1, 1],), False),
    ],
)
def test_a_shift_passes_a_convolution_only_without_padding(operator, further, shifts):
    meaning, _, _ = read(operator, X(1, 4, 5, 5), parameter(4, 4, 3, 3), None, *further)
    assert (meaning.no_shift is None) is shifts


@pytest.mark.parametrize("shape", [(4,), (3, 4), (2, 3, 4), (2, 4, 4), (2, 1, 5, 4)], ids=str)
@pytest.mark.parametrize("with_bias", [False, True], ids=["no bias", "bias"])
def test_linear(shape, with_bias):
    assert_means(Contraction, aten.linear.default, X(*shape), parameter(4, 4), parameter(4) if with_bias else None)


@pytest.mark.parametrize("bias", [(4,), (1,), (), (1, 4), (5, 1), (5, 4)], ids=str)
@pytest.mark.parametrize("factors", [{}, {"alpha": -0.7, "beta": 0.3}], ids=str)
def test_addmm(bias, factors):
    meaning, inputs, (expected,) = read(aten.addmm.default, parameter(*bias), X(5, 3), parameter(3, 4), **factors)
    assert meaning.source == 1
    (y,) = evaluate(meaning, inputs)
    close(y, expected)


@pytest.mark.parametrize("left", [(3,), (5, 3), (2, 5, 3), (2, 1, 5, 3)], ids=len)
def test_matmul(left):
    assert_means(Contraction, aten.matmul.default, X(*left), parameter(3, 4))


@pytest.mark.parametrize("right", [(3, 5), (2, 3, 5), (2, 1, 3, 5)], ids=len)
def test_matmul_with_the_constant_on_the_left(right):
    meaning = assert_means(Contraction, aten.matmul.default, parameter(4, 3), X(*right))
    assert meaning.source == 1


def test_mm_and_bmm():
    assert_means(Contraction, aten.mm.default, X(5, 3), parameter(3, 4))
    matrix = parameter(3, 4)
    assert_means(Contraction, aten.bmm.default, X(2, 5, 3), matrix.expand(2, 3, 4))
    meaning, _, _ = read(aten.bmm.default, X(2, 5, 3), parameter(2, 3, 4))
    assert meaning.reason is Reason.WRONG_AXIS


@pytest.mark.parametrize("equation", ["bij,jk->bik", "bij,kj->bik", "bij,jk->bki", "bij,ki->bkj"])
def test_einsum(equation):
    weight = parameter(3, 4) if equation.split(",")[1].startswith("j") else parameter(4, 3)
    assert_means(Contraction, aten.einsum.default, equation, [X(2, 3, 3), weight])


@pytest.mark.parametrize("name", ["mul", "add", "sub", "div"])
@pytest.mark.parametrize("constant_first", [False, True], ids=["x, c", "c, x"])
@pytest.mark.parametrize("shape", [(), (1,), (4,), (3, 1, 1), (1, 3, 1, 1), (2, 1, 5, 1), (2, 3, 5, 4)], ids=str)
def test_arithmetic(name, constant_first, shape):
    operands = [X(2, 3, 5, 4), parameter(*shape)]
    meaning, inputs, (expected,) = read(getattr(aten, name).Tensor, *(operands[::-1] if constant_first else operands))
    if name == "div" and constant_first:
        assert meaning == Opaque(Reason.NOT_LINEAR, "a constant divided by the activation is not affine")
        return
    assert meaning.source == int(constant_first)
    close(evaluate(meaning, inputs)[0], expected)


@pytest.mark.parametrize("alpha", [1, -1, 2.5])
@pytest.mark.parametrize("overload", [aten.add.Tensor, aten.sub.Tensor, aten.rsub.Tensor], ids=str)
@pytest.mark.parametrize("constant_first", [False, True])
def test_alpha(alpha, overload, constant_first):
    operands = [X(2, 3), parameter(3)]
    assert_means(AffineMap, overload, *(operands[::-1] if constant_first else operands), alpha=alpha)


@pytest.mark.parametrize(
    "overload", [aten.add.Scalar, aten.sub.Scalar, aten.mul.Scalar, aten.div.Scalar, aten.rsub.Scalar], ids=str
)
@pytest.mark.parametrize("number", [2, -0.75])
def test_numbers(overload, number):
    assert_means(AffineMap, overload, X(2, 3), number)


@pytest.mark.parametrize(
    ("overload", "signs"), [(aten.add.Tensor, (1, 1)), (aten.sub.Tensor, (1, -1)), (aten.rsub.Tensor, (-1, 1))]
)
def test_sums(overload, signs):
    meaning = assert_means(Sum, overload, X(2, 3, 4), X(3, 1))
    assert tuple(operand.sign for operand in meaning.operands) == signs


def test_a_sum_with_another_factor_is_not_understood():
    meaning, _, _ = read(aten.add.Tensor, X(2, 3), X(2, 3), alpha=2)
    assert meaning.reason is Reason.NOT_LINEAR


def test_a_rounded_quotient_is_not_linear():
    meaning, _, _ = read(aten.div.Tensor_mode, X(2, 3), parameter(3), rounding_mode="floor")
    assert meaning.reason is Reason.NOT_LINEAR


def test_cat():
    assert_means(Concatenation, aten.cat.default, [X(2, 3, 4), X(2, 1, 4), X(2, 2, 4)], -2)


@pytest.mark.parametrize("axis", [0, 1, 3, -1])
def test_stack(axis):
    assert_means(Concatenation, aten.stack.default, [X(2, 3, 4), X(2, 3, 4), X(2, 3, 4)], axis)


ORDER = torch.tensor([4, 0, 1, 1])
MOVED = [
    (aten.flip.default, ([1],)),
    (aten.flip.default, ([0, -1],)),
    (aten.flip.default, ([],)),
    (aten.roll.default, ([2], [1])),
    (aten.roll.default, ([-1, 7], [1, -1])),
    (aten.index_select.default, (1, ORDER)),
    (aten.index_select.default, (-2, torch.tensor([], dtype=torch.int64))),
    (aten.index.Tensor, ([None, ORDER],)),
    (aten.index.Tensor, ([None, ORDER.to(torch.int32) - 5],)),
    (aten.repeat_interleave.self_int, (3, 1)),
    (aten.repeat_interleave.self_int, (1, -1)),
    (aten.unfold.default, (1, 3, 2)),
    (aten.unfold.default, (-1, 2, 1)),
    (aten.unfold.default, (0, 2, 3)),
]


@pytest.mark.parametrize(("operator", "further"), MOVED, ids=lambda entry: str(getattr(entry, "__name__", "")))
def test_places_of_an_axis(operator, further):
    assert_means(Rearrangement, operator, X(2, 5, 3), *further)


@pytest.mark.parametrize(
    ("operator", "further"),
    [
        (aten.roll.default, ([2],)),
        (aten.repeat_interleave.self_int, (3,)),
        (aten.index.Tensor, ([ORDER[1:3], ORDER[1:3]],)),
        (aten.index.Tensor, ([torch.tensor([True, False])],)),
    ],
)
def test_places_that_are_not_of_one_axis(operator, further):
    meaning, _, _ = read(operator, X(2, 5, 3), *further)
    assert isinstance(meaning, Opaque)


def test_places_known_only_at_run_time():
    """Whatever the places are, a map that is the same in all of them passes."""
    index = X(2)
    index.tensor = torch.tensor([2, 0])
    meaning, _, _ = read(aten.index_select.default, X(2, 5, 3), 1, index)
    assert isinstance(meaning, Commuting)
    over_channels = per_channel(np.arange(5.0), np.ones(5), rank=3)
    over_places = per_channel(np.arange(3.0), np.ones(3), rank=3, axis=2)
    assert isinstance(rules.push(meaning, {0: over_channels}), Refusal)
    assert not isinstance(rules.push(meaning, {0: over_places}), Refusal)


@pytest.mark.parametrize(
    ("overload", "further"), [("sections", (3, 1)), ("sections", (9, 1)), ("indices", ([1, 4], 1))]
)
def test_tensor_split(overload, further):
    assert_means(Split, getattr(aten.tensor_split, overload), X(2, 7, 3), *further)


@pytest.mark.parametrize("places", [[-3, 6], [2, 2], [0], [9]])
def test_tensor_split_at_places(places):
    assert_means(Split, aten.tensor_split.indices, X(2, 7, 3), places, 1)


def test_tensor_split_with_parts_that_overlap():
    meaning, _, _ = read(aten.tensor_split.indices, X(2, 7, 3), [4, 2], 1)
    assert isinstance(meaning, Opaque)


NORMS = ["gamma, beta", "gamma", "neither"]


@pytest.mark.parametrize("shape", [(5, 3), (2, 3, 3), (2, 3, 4, 5), (1, 3, 2, 2, 2)], ids=str)
@pytest.mark.parametrize("given", NORMS)
def test_batch_norm(shape, given):
    gamma, beta = (parameter(3, seed=seed) for seed in (2, 3))
    gamma[0], gamma[1] = 0.0, -1e-3
    statistics = [parameter(3, seed=4) * 5, torch.tensor([1e-6, 10.0, 0.3], dtype=torch.float64)]
    weights = [gamma if "gamma" in given else None, beta if "beta" in given else None]
    assert_means(AffineMap, aten.batch_norm.default, X(*shape), *weights, *statistics, False, 0.1, 1e-5, False)
    operator = aten._native_batch_norm_legit_no_training.default
    meaning, inputs, (expected, *_) = read(operator, X(*shape), *weights, *statistics, 0.1, 1e-5)
    close(evaluate(meaning, inputs)[0], expected)


def test_a_batch_norm_that_trains():
    tensors = [X(5, 3), parameter(3), parameter(3), parameter(3), parameter(3).abs()]
    meaning, _, _ = read(aten.batch_norm.default, *tensors, True, 0.1, 1e-5, False)
    assert meaning.reason is Reason.TRAINING_MODE
    assert "eval" in meaning.hint
    meaning, _, _ = read(aten.batch_norm.default, X(5, 3), None, None, None, None, True, 0.1, 1e-5, False)
    assert meaning.reason is Reason.TRAINING_MODE


@pytest.mark.parametrize("affine", [True, False])
def test_norms_end_in_their_own_map(affine):
    shape = (2, 4, 6)
    for operator, weights, further in (
        (aten.layer_norm.default, (6,), ([6],)),
        (aten.layer_norm.default, (4, 6), ([4, 6],)),
        (aten.group_norm.default, (4,), (2,)),
    ):
        weight, bias = (parameter(*weights, seed=seed) if affine else None for seed in (1, 2))
        named = {"weight": weight, "bias": bias}
        meaning, inputs, (expected,) = read(operator, X(*shape), *further, **named)
        assert isinstance(meaning, Normalisation)
        plain = operator(torch.from_numpy(inputs[0]), *further)
        close(evaluate(meaning, inputs, lambda _x, y=plain: y.numpy())[0], expected)


def test_embedding():
    indices = torch.tensor([[0, 2], [1, 1]])
    x = X(2, 2)
    x.tensor = indices
    meaning, _, (expected,) = read(aten.embedding.default, parameter(3, 5), x)
    assert isinstance(meaning, Embedding)
    close(evaluate(meaning, {1: indices.numpy()})[0], expected)


IMAGE = (2, 4, 6, 4)
MOVEMENT = [
    (aten.view.default, IMAGE, ([2, 4, 24],)),
    (aten.reshape.default, IMAGE, ([-1, 2, 6, 4],)),
    (aten._unsafe_view.default, IMAGE, ([2, 2, 2, 24],)),
    (aten.flatten.using_ints, IMAGE, (1, -1)),
    (aten.unflatten.int, IMAGE, (1, [2, 2])),
    (aten.squeeze.default, (2, 1, 3, 1), ()),
    (aten.squeeze.dim, (2, 1, 3, 1), (-1,)),
    (aten.squeeze.dims, (2, 1, 3, 1), ([1, 3],)),
    (aten.squeeze.dim, (2, 1, 3, 1), (0,)),
    (aten.unsqueeze.default, IMAGE, (-1,)),
    (aten.unsqueeze.default, IMAGE, (0,)),
    (aten.permute.default, IMAGE, ([0, -1, 1, 2],)),
    (aten.transpose.int, IMAGE, (1, -1)),
    (aten.t.default, (3, 4), ()),
    (aten.mT.default, IMAGE, ()),
    (aten.movedim.int, IMAGE, (1, -1)),
    (aten.movedim.intlist, IMAGE, ([0, 3], [2, 0])),
    (aten.expand.default, (2, 1, 3), ([4, 2, -1, 3],)),
    (aten.repeat.default, (2, 1, 3), ([1, 5, 1],)),
    (aten.repeat.default, (1, 3), ([2, 4, 1],)),
    (aten.slice.Tensor, IMAGE, (1, 1, 9223372036854775807, 2)),
    (aten.slice.Tensor, IMAGE, (2, -3, -1)),
    (aten.slice.Tensor, IMAGE, (-1,)),
    (aten.narrow.default, IMAGE, (1, 1, 2)),
    (aten.narrow.default, IMAGE, (2, -3, 2)),
    (aten.select.int, IMAGE, (1, -2)),
    (aten.select.int, IMAGE, (-1, 0)),
    (aten.pixel_shuffle.default, (2, 8, 3, 2), (2,)),
    (aten.pixel_shuffle.default, (8, 3, 2), (2,)),
    (aten.pixel_unshuffle.default, (2, 3, 4, 6), (2,)),
    (aten.pixel_unshuffle.default, (3, 4, 6), (2,)),
    (aten.channel_shuffle.default, IMAGE, (2,)),
    (aten.clone.default, IMAGE, ()),
    (aten.contiguous.default, IMAGE, ()),
    (aten.detach.default, IMAGE, ()),
    (aten.dropout.default, IMAGE, (0.5, False)),
    (aten._to_copy.default, IMAGE, ()),
]


@pytest.mark.parametrize(("operator", "shape", "further"), MOVEMENT, ids=str)
def test_movement(operator, shape, further):
    assert_means(Rearrangement, operator, X(*shape), *further)


@pytest.mark.parametrize(
    ("operator", "further"),
    [
        (aten.split.Tensor, (3, 1)),
        (aten.split_with_sizes.default, ([1, 2, 4], 1)),
        (aten.chunk.default, (3, -2)),
        (aten.chunk.default, (2, 1)),
    ],
    ids=str,
)
def test_split(operator, further):
    assert_means(Split, operator, X(2, 7, 3), *further)


def test_a_conversion_changes_nothing_between_wide_types():
    meaning, _, _ = read(aten._to_copy.default, X(2, 3), dtype=torch.float32)
    assert isinstance(meaning, Rearrangement)
    assert meaning.steps == ()
    meaning, _, _ = read(aten._to_copy.default, X(2, 3), dtype=torch.float16)
    assert meaning.reason is Reason.NOT_LINEAR


def test_bytes_read_as_another_type_are_not_a_view():
    meaning, _, _ = read(aten.view.dtype, X(2, 4), torch.int64)
    assert isinstance(meaning, Opaque)


ANY = [
    (aten.avg_pool2d.default, ([2, 2],)),
    (aten.avg_pool2d.default, ([3, 2], [2, 1], [1, 0], False, False)),
    (aten.avg_pool2d.default, ([3, 3], [2, 2], [0, 0], True)),
    (aten.avg_pool2d.default, ([3, 3], [2, 2], [1, 1], True, False)),
    (aten.adaptive_avg_pool2d.default, ([3, 2],)),
    (aten.adaptive_avg_pool2d.default, ([4, 3],)),
    (aten._adaptive_avg_pool2d.default, ([1, 1],)),
    (aten.mean.dim, ([2, 3],)),
    (aten.mean.dim, ([-1], True)),
    (aten.sum.dim_IntList, ([2, 3],)),
    (aten.sum.dim_IntList, ([-1], True)),
    (aten.neg.default, ()),
    (aten.reflection_pad2d.default, ([1, 2, 2, 1],)),
    (aten.replication_pad2d.default, ([1, 2, 2, 1],)),
    (aten.pad.default, ([1, 0, 2, 1], "reflect")),
    (aten.pad.default, ([1, 0, 2, 1], "circular")),
    (aten.constant_pad_nd.default, ([0, 0],)),
    (aten.upsample_nearest2d.vec, (None, [2.0, 1.5])),
    (aten.upsample_nearest2d.default, ([5, 9],)),
    (aten._upsample_nearest_exact2d.vec, ([5, 9], None)),
    (aten.upsample_bilinear2d.vec, ([9, 9], True, None)),
    (aten.upsample_bilinear2d.vec, (None, False, [0.5, 2.0])),
    (aten.upsample_bicubic2d.vec, ([9, 7], False, None)),
    (aten._upsample_bilinear2d_aa.vec, ([3, 2], False, None)),
    (aten._upsample_bicubic2d_aa.vec, ([3, 2], False, None)),
]
NO_SHIFT = [
    (aten.avg_pool2d.default, ([3, 3], [1, 1], [1, 1])),
    (aten.avg_pool2d.default, ([3, 3], [2, 2], [1, 1], True)),
    (aten.avg_pool2d.default, ([2, 2], [2, 2], [0, 0], False, True, 3)),
    (aten.constant_pad_nd.default, ([1, 1], 0)),
    (aten.constant_pad_nd.default, ([-1, 1], 0.0)),
    (aten.pad.default, ([1, 0, 2, 1], "constant")),
    (aten.cumsum.default, (2,)),
]
MAXIMA = [
    (aten.max_pool2d.default, ([2, 2],)),
    (aten.max_pool2d.default, ([3, 3], [2, 2], [1, 1], [1, 1], True)),
    (aten.max_pool2d_with_indices.default, ([2, 2],)),
    (aten.adaptive_max_pool2d.default, ([3, 2],)),
    (aten.amax.default, ([2, 3],)),
    (aten.amin.default, ([-1], True)),
    (aten.max.dim, (3,)),
    (aten.min.dim, (-1, True)),
]
RAMPS = [
    (aten.relu.default, ()),
    (aten.leaky_relu.default, (-0.3,)),
    (aten.prelu.default, (parameter(4),)),
    (aten._prelu_kernel.default, (parameter(1, 4, 1, 1),)),
    (aten.abs.default, ()),
]
MIXED = [
    (aten.mean.default, ()),
    (aten.mean.dim, ([],)),
    (aten.mean.dim, ([0, 1],)),
    (aten.sum.dim_IntList, (None,)),
    (aten.amax.default, ()),
    (aten.max.default, ()),
    (aten.max.dim, (1,)),
    (aten.cumsum.default, (1,)),
    (aten.constant_pad_nd.default, ([0, 0, 0, 0, 1, 0],)),
    (aten.avg_pool3d.default, ([2, 2, 2],)),
]


def pushed(operator, further, scale, shift):
    """The operator on a mapped image, and the map that the rule sends behind it on the operator's result."""
    meaning, inputs, (expected, *_) = read(operator, X(*IMAGE), *further)
    assert isinstance(meaning, Commuting), meaning
    before = per_channel(scale, shift, rank=4)
    moved = rules.push(meaning, {meaning.source: before})
    if isinstance(moved, Refusal):
        return moved
    mapped = operator(torch.from_numpy(apply(before, inputs[meaning.source])), *further)
    theirs = mapped[0] if isinstance(mapped, (list, tuple)) else mapped
    close(apply(moved.requirements[0], expected), theirs.numpy())
    return moved


MIXED_SIGNS, POSITIVE = np.array([-2.0, 0.0, 0.5, 3.0]), np.array([2.0, 0.0, 0.5, 3.0])
SHIFT, NONE = np.array([1.0, -3.0, 0.0, 0.2]), np.zeros(4)


@pytest.mark.parametrize(("operator", "further"), ANY, ids=str)
def test_everything_passes_means_and_copies(operator, further):
    assert not isinstance(pushed(operator, further, MIXED_SIGNS, SHIFT), Refusal)


@pytest.mark.parametrize(("operator", "further"), NO_SHIFT, ids=str)
def test_only_a_scale_passes_what_adds_zeros(operator, further):
    assert not isinstance(pushed(operator, further, MIXED_SIGNS, NONE), Refusal)
    assert pushed(operator, further, MIXED_SIGNS, SHIFT).reason is Reason.SHIFT_CANNOT_PASS


@pytest.mark.parametrize(("operator", "further"), MAXIMA, ids=str)
def test_a_scale_without_a_minus_passes_maxima(operator, further):
    assert not isinstance(pushed(operator, further, POSITIVE, SHIFT), Refusal)
    assert pushed(operator, further, MIXED_SIGNS, SHIFT).reason is Reason.NEEDS_NON_NEGATIVE_SCALE


@pytest.mark.parametrize(("operator", "further"), RAMPS, ids=str)
def test_a_scale_without_a_minus_passes_ramps(operator, further):
    assert not isinstance(pushed(operator, further, POSITIVE, NONE), Refusal)
    assert pushed(operator, further, POSITIVE, SHIFT).reason is Reason.SHIFT_CANNOT_PASS


@pytest.mark.parametrize(("operator", "further"), MIXED, ids=str)
def test_no_map_over_the_channels_passes_what_mixes_them(operator, further):
    assert pushed(operator, further, POSITIVE, SHIFT).reason is Reason.WRONG_AXIS


@pytest.mark.parametrize(
    ("operator", "further"),
    [(aten.sigmoid.default, ()), (aten.gelu.default, ()), (aten.constant_pad_nd.default, ([1, 1], 0.5))],
    ids=str,
)
def test_nothing_passes(operator, further):
    assert read(operator, X(*IMAGE), *further)[0].reason is Reason.NOT_LINEAR
