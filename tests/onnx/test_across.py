"""BatchNorms that fold across tensors that others read: pre-activation streams, dense blocks, and what stops them."""

import numpy as np
import pytest
from onnx import TensorProto, helper

from bnfold.refusal import Reason
from tests.folding import count, fold, fold_and_compare
from tests.networks import Network

CHANNELS = 6
SHAPE = [2, CHANNELS, 8, 8]


def tame_batch_norm(network, source, output, channels=CHANNELS, *, dtype="float32", **changes):
    """A BatchNorm whose zero lies within a few deviations of its mean, with positive scales unless told otherwise."""
    random = network.random
    parameters = {
        "scale": random.uniform(0.5, 2, channels),
        "bias": random.normal(size=channels),
        "mean": random.normal(size=channels),
        "var": random.uniform(0.3, 3, channels),
    }
    for key, places in changes.items():
        for channel, value in places.items():
            parameters[key][channel] = value
    names = [network.constant(f"{output}.{key}", values, dtype) for key, values in parameters.items()]
    return network.node("BatchNormalization", [source, *names], output)


def conv(network, source, output, *, kernel=3, inputs=CHANNELS, outputs=CHANNELS, pads=None, dtype="float32"):
    weight = network.weight(f"{output}.weight", outputs, inputs, kernel, kernel, dtype=dtype)
    bias = network.weight(f"{output}.bias", outputs, dtype=dtype)
    around = kernel // 2 if pads is None else pads
    return network.node("Conv", [source, weight, bias], output, pads=[around] * 4)


def stream(network, blocks, **batch_norm):
    """Stem, then x + conv(relu(bn(x))), as pre-activation networks have it, and a last BatchNorm, Relu and Conv."""
    x = conv(network, "x", "stem")
    for block in range(blocks):
        y = tame_batch_norm(network, x, f"n{block}", **batch_norm)
        y = conv(network, network.node("Relu", [y], f"r{block}"), f"c{block}")
        x = network.node("Add", [x, y], f"s{block}")
    last = tame_batch_norm(network, x, "last", **batch_norm)
    return conv(network, network.node("Relu", [last], "end"), "y", kernel=1)


@pytest.mark.parametrize("blocks", [1, 2, 5])
def test_a_stream_of_pre_activation_blocks(blocks):
    network = Network()
    stream(network, blocks)
    folded = fold_and_compare(network.model({"x": SHAPE}, ["y"]))
    assert count(folded.model, "BatchNormalization") == 0
    across = [entry for entry in folded.folds if entry.direction == "across"]
    assert len(across) == blocks + 1
    assert all(0 < entry.zero_point < 64 for entry in across)
    assert all(entry.quantization is not None and entry.quantization.weight in entry.into for entry in across)


def test_nothing_is_added_and_all_names_of_outputs_stay():
    network = Network()
    stream(network, 2)
    model = network.model({"x": SHAPE}, ["y", "c1"])
    folded = fold_and_compare(model)
    assert count(folded.model, "BatchNormalization") < 3
    assert len(folded.model.graph.node) == len(model.graph.node) - (3 - count(folded.model, "BatchNormalization"))


def test_the_stream_itself_is_an_output():
    """Only its scale is free then: a BatchNorm goes if its shift needs no place on the stream."""
    network = Network()
    stream(network, 2)
    folded = fold_and_compare(network.model({"x": SHAPE}, ["y", "s0"]))
    kept = [entry for entry in folded.kept if entry.is_batch_norm]
    assert kept
    assert any(refusal.reason is Reason.GRAPH_OUTPUT for entry in kept for refusal in entry.refusals)


def test_a_dense_block():
    """Every BatchNorm reads all that was made before it: the last of a channel's readers decides."""
    network = Network()
    made = [conv(network, "x", "stem")]
    for layer in range(3):
        channels = CHANNELS * len(made)
        joined = network.node("Concat", made, f"j{layer}", axis=1) if len(made) > 1 else made[0]
        normed = tame_batch_norm(network, joined, f"n{layer}", channels)
        made.append(conv(network, network.node("Relu", [normed], f"r{layer}"), f"c{layer}", inputs=channels))
    network.node("Concat", made, "y", axis=1)
    conv(network, "y", "z", kernel=1, inputs=CHANNELS * 4)
    folded = fold_and_compare(network.model({"x": SHAPE}, ["z"]))
    assert [entry.direction for entry in folded.folds if entry.is_batch_norm].count("across") >= 1


def test_a_negative_scale_in_front_of_a_ramp_turns_the_stream():
    network = Network()
    stream(network, 1, scale={1: -1.5})
    folded = fold_and_compare(network.model({"x": SHAPE}, ["y"]))
    assert count(folded.model, "BatchNormalization") == 0


def test_two_signs_that_differ_keep_one():
    network = Network()
    x = conv(network, "x", "stem")
    one = conv(network, network.node("Relu", [tame_batch_norm(network, x, "a", scale={1: -1.0})], "ra"), "ca")
    two = conv(network, network.node("Relu", [tame_batch_norm(network, x, "b")], "rb"), "cb")
    network.node("Add", [one, two], "y")
    folded = fold_and_compare(network.model({"x": SHAPE}, ["y"]))
    assert count(folded.model, "BatchNormalization") == 1
    (kept,) = (entry for entry in folded.kept if entry.is_batch_norm)
    assert kept.refusals[-1].reason in {Reason.NEEDS_NON_NEGATIVE_SCALE, Reason.SHIFT_CANNOT_PASS}


@pytest.mark.parametrize("bias", [-0.7, 0.0])
def test_a_channel_of_scale_zero_is_a_constant_for_its_readers(bias):
    network = Network()
    stream(network, 2, scale={0: 0.0}, bias={0: bias})
    folded = fold_and_compare(network.model({"x": SHAPE}, ["y"]))
    assert count(folded.model, "BatchNormalization") == 0


def test_a_positive_constant_in_front_of_zero_padding_stays():
    network = Network()
    stream(network, 2, scale={0: 0.0}, bias={0: 0.7})
    folded = fold_and_compare(network.model({"x": SHAPE}, ["y"]))
    kept = [entry for entry in folded.kept if entry.is_batch_norm]
    assert [entry.node for entry in kept] == ["n0_node", "n1_node"]
    for entry in kept:
        assert entry.refusals[-1].reason is Reason.SHIFT_CANNOT_PASS
        assert entry.refusals[-1].evidence == "zeros are padded, and would be shifted too; max |shift| 0.7, channel 0"


def test_a_zero_far_from_the_mean_stays():
    network = Network()
    stream(network, 1, bias={2: 500.0}, scale={2: 1.0})
    folded = fold_and_compare(network.model({"x": SHAPE}, ["y"]))
    kept = [entry for entry in folded.kept if entry.is_batch_norm]
    assert len(kept) == 2
    for entry in kept:
        assert entry.refusals[-1].reason is Reason.CONDITIONING
        assert entry.refusals[-1].evidence == "its zero lies 500 deviations from the mean in channel 2, more than 64"


def test_half_precision_allows_little():
    network = Network()
    x = conv(network, "x", "stem", dtype="float16")
    y = tame_batch_norm(network, x, "n", dtype="float16", bias={3: 3.0}, scale={3: 1.0})
    y = conv(network, network.node("Relu", [y], "r"), "c", dtype="float16")
    network.node("Add", [x, y], "y")
    folded = fold(network.model({"x": SHAPE}, ["y"], dtype="float16"))
    (kept,) = (entry for entry in folded.kept if entry.is_batch_norm)
    assert kept.refusals[-1].reason is Reason.CONDITIONING
    assert "more than 1" in kept.refusals[-1].evidence


def test_a_tensor_that_a_body_reads_keeps_its_values():
    network = Network()
    stream(network, 1)
    network.constant("taken", True, dtype="bool")
    entry = helper.make_tensor_value_info("kept", TensorProto.FLOAT, None)
    body = helper.make_graph([helper.make_node("Neg", ["stem"], ["kept"])], "body", [], [entry])
    network.node("If", ["taken"], "z", then_branch=body, else_branch=body)
    folded = fold_and_compare(network.model({"x": SHAPE}, ["y", "z"]))
    kept = [entry for entry in folded.kept if entry.is_batch_norm]
    assert Reason.CAPTURED in {refusal.reason for entry in kept for refusal in entry.refusals}


def test_the_stream_may_be_pooled_and_multiplied():
    """A gate multiplies: it takes scales and no shift."""
    network = Network()
    x = conv(network, "x", "stem")
    gate = network.node("Sigmoid", [network.node("GlobalAveragePool", [x], "p")], "g")
    y = tame_batch_norm(network, x, "n")
    y = conv(network, network.node("Relu", [y], "r"), "c")
    network.node("Add", [network.node("Mul", [y, gate], "m"), x], "s")
    conv(network, network.node("MaxPool", ["s"], "pooled", kernel_shape=[2, 2]), "y", kernel=1)
    fold_and_compare(network.model({"x": SHAPE}, ["y"]))


@pytest.mark.parametrize("op_type", ["Sub", "Add", "Mul", "Concat"])
def test_the_stream_meets_its_own_norm(op_type):
    """What reads both the input and the output of a BatchNorm would have to tell the two apart."""
    network = Network()
    x = conv(network, "x", "stem")
    y = tame_batch_norm(
        network, x, "n", bias=dict.fromkeys(range(CHANNELS), 0.0), mean=dict.fromkeys(range(CHANNELS), 0.0)
    )
    network.node(op_type, [y, x], "s", **({"axis": 1} if op_type == "Concat" else {}))
    conv(network, "s", "y", kernel=1, inputs=CHANNELS * (2 if op_type == "Concat" else 1))
    fold_and_compare(network.model({"x": SHAPE}, ["y"]))


@pytest.mark.parametrize("seed", range(12))
def test_random_streams(seed):
    """Residual and dense blocks, pooling, other readers, outputs inside, signs and zeros: never another function."""
    random = np.random.default_rng(seed)
    network = Network(seed=seed)
    x, outputs = conv(network, "x", "stem"), ["y"]
    for block in range(int(random.integers(1, 5))):
        changes = {"scale": {int(random.integers(CHANNELS)): float(random.choice([0.0, -1.0, 1.0]))}}
        y = tame_batch_norm(network, x, f"n{block}", **changes)
        if random.random() < 0.7:
            y = network.node(str(random.choice(["Relu", "LeakyRelu", "Abs"])), [y], f"r{block}")
        y = conv(network, y, f"c{block}", kernel=int(random.choice([1, 3])))
        x = network.node(str(random.choice(["Add", "Sub"])), [x, y], f"s{block}")
        if random.random() < 0.2:
            outputs.append(x)
        if random.random() < 0.3:
            kind = str(random.choice(["MaxPool", "AveragePool"]))
            x = network.node(kind, [x], f"p{block}", kernel_shape=[3, 3], strides=[1, 1], pads=[1, 1, 1, 1])
    conv(network, tame_batch_norm(network, x, "last"), "y", kernel=1)
    fold_and_compare(network.model({"x": SHAPE}, outputs))


def test_half_precision_keeps_away_from_the_ends_of_its_range():
    """Two BatchNorms read one tensor, and one divides by 1000: the other would see numbers without digits."""
    network = Network()
    x = conv(network, "x", "stem", dtype="float16")
    small = dict.fromkeys(range(CHANNELS), 1e-3)
    none = dict.fromkeys(range(CHANNELS), 0.0)
    tame_batch_norm(network, x, "y", dtype="float16", scale=small, bias=none, mean=none)
    tame_batch_norm(network, x, "z", dtype="float16", bias=none, mean=none)
    folded = fold_and_compare(network.model({"x": SHAPE}, ["y", "z"], dtype="float16"))
    assert "z_node" in {entry.node for entry in folded.folds} | {entry.node for entry in folded.kept}
    for entry in folded.folds:
        assert entry.direction != "across" or entry.node == "z_node"


def mixer(blocks, **batch_norm):
    """Blocks as convmixer has them: z + bn(relu(conv(z))), then bn(relu(conv(.)))."""
    network = Network()
    z = tame_batch_norm(network, network.node("Relu", [conv(network, "x", "stem")], "stem_r"), "stem_n", **batch_norm)
    for block in range(blocks):
        y = network.node("Relu", [conv(network, z, f"d{block}")], f"dr{block}")
        z = network.node("Add", [tame_batch_norm(network, y, f"dn{block}", **batch_norm), z], f"s{block}")
        y = network.node("Relu", [conv(network, z, f"p{block}", kernel=1)], f"pr{block}")
        z = tame_batch_norm(network, y, f"pn{block}", **batch_norm)
    conv(network, z, "y", kernel=1)
    return network.model({"x": SHAPE}, ["y"])


@pytest.mark.parametrize(
    "batch_norm",
    [{}, {"scale": {0: 0.0}}, {"scale": {1: -1.5}}, {"scale": {0: 0.0, 1: -1.5, 2: -0.5}, "bias": {0: 2.0}}],
    ids=["positive", "zero", "negative", "both"],
)
def test_sizes_go_upstream_and_signs_across(batch_norm):
    """A channel of scale 0 behind a Relu is made 0 in front of it, and signs are left to who reads the BatchNorm."""
    folded = fold_and_compare(mixer(3, **batch_norm))
    stays = {entry.node for entry in folded.kept if entry.is_batch_norm}
    assert stays == {"stem_n_node", "pn0_node", "pn1_node"}  # those in front of zero padding
    again = fold(folded.model)
    assert again.folds == ()


def test_sizes_go_upstream_only_with_the_rest():
    """Where signs and shift find no place, the convolution keeps its weight."""
    network = Network()
    y = network.node("Relu", [conv(network, "x", "stem")], "r")
    y = tame_batch_norm(network, y, "n", scale={0: -1.0, 1: 0.0})
    network.node("Add", [network.node("Sigmoid", [y], "s"), conv(network, y, "c")], "y")
    model = network.model({"x": SHAPE}, ["y"])
    folded = fold(model)
    assert folded.folds == ()
    assert folded.model.SerializeToString() == model.SerializeToString()


@pytest.mark.parametrize(("mean", "folds"), [(10.0, True), (1e4, False)])
def test_a_level_far_from_the_values_is_no_zero(mean, folds):
    """What is left when sizes are upstream is 0 where the Relu is: so far from the mean as that is."""
    network = Network()
    y = network.node("Relu", [conv(network, "x", "stem")], "r")
    y = tame_batch_norm(network, y, "n", scale={0: 0.0, 1: -1.0}, mean={2: mean})
    z = conv(network, "x", "z")
    conv(network, network.node("Add", [y, z], "s"), "y", kernel=1)
    conv(network, z, "w")
    folded = fold_and_compare(network.model({"x": SHAPE}, ["y", "w"]))
    assert [entry.node for entry in folded.kept if entry.is_batch_norm] == ([] if folds else ["n_node"])
    assert not folds or folded.folds[0].zero_point > 5


@pytest.mark.parametrize("seed", range(4))
def test_norms_with_one_zero_fold_one_after_the_other(seed):
    """Later norms of a dense block take the zero of the first, exactly: what rounding left of it could pass no ramp."""
    network = Network(seed=seed)
    tensors = [conv(network, "x", "stem")]
    for block in range(3):
        d = tensors[0] if not block else network.node("Concat", tensors, f"d{block}", axis=1)
        if not block:
            tame_batch_norm(network, d, "n0")
        else:
            first = (network.initializers[f"n0.{key}"] for key in ("scale", "bias", "mean", "var"))
            names = [network.constant(f"n{block}.{i}", np.tile(v, block + 1)) for i, v in enumerate(first)]
            network.node("BatchNormalization", [d, *names], f"n{block}")
        r = network.node("Relu", [f"n{block}"], f"r{block}")
        tensors.append(conv(network, r, "y" if block == 2 else f"c{block}", inputs=CHANNELS * (block + 1)))
    folded = fold_and_compare(network.model({"x": SHAPE}, ["y"]))
    assert [entry.direction for entry in folded.folds] == ["across"] * 3
