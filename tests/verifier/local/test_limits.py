"""What the limits of the law let pass, and what they still see, by one network each."""

import numpy as np
import pytest

from bnfold.verifier import VerifyOptions, check
from tests.verifier.small_models import FLOAT, HALF, ConvBatchNorm, model, node

ONCE = VerifyOptions(samples=1)


def in_float32(seed):
    """A Conv and three BatchNorms, and the Conv that a tool makes of them that computes in float32, step by step."""
    random = np.random.default_rng(seed)
    single = np.float32
    weight, bias = random.normal(size=(4, 3, 3, 3)).astype(single), np.zeros(4, single)
    parameters = {"w": weight}
    nodes = [node("Conv", "x w", "c0")]
    for number in range(3):
        gamma, var = (random.uniform(0.4, 2, 4).astype(single) for _ in range(2))
        beta, mean = (random.normal(size=4).astype(single) for _ in range(2))
        values = {f"g{number}": gamma, f"b{number}": beta, f"m{number}": mean, f"v{number}": var}
        parameters |= values
        nodes.append(
            node("BatchNormalization", f"c{number} {' '.join(values)}", "y" if number == 2 else f"c{number + 1}")
        )
        scale = gamma / np.sqrt(var + single(1e-5))
        weight, bias = weight * scale[:, None, None, None], (bias - mean) * scale + beta
    ports = {"x": (FLOAT, [1, 3, 6, 6])}, {"y": (FLOAT, [1, 4, 4, 4])}
    return model(nodes, *ports, parameters), model([node("Conv", "x w b", "y")], *ports, {"w": weight, "b": bias})


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_other_tools_may_round_at_every_step_of_float32(seed):
    verdict = check(*in_float32(seed), ONCE)
    assert verdict.passed, verdict.problem
    assert verdict.tensors[0].excess > 0.5, "with one half unit it would be wrong"


@pytest.mark.parametrize("error", [3e-6, 1e-5])
def test_a_shift_is_seen_beside_large_values(error):
    """What the weights of large values may be off is more, so values of other magnitudes are judged apart."""
    network = ConvBatchNorm(3)

    def spoil(bias):
        bias[1] *= 1 + error

    verdict = check(network.original(), network.folded(spoil_bias=spoil), ONCE)
    assert verdict.problem.startswith("tensor 'y': channel 1 differs")


@pytest.mark.parametrize("sign", [1, -1])
def test_numbers_are_read_on_both_sides_of_a_relu(sign):
    random = np.random.default_rng(0)
    weight, scale = random.normal(size=(4, 3, 3, 3)).astype(np.float16), random.uniform(0.5, 2, 4).astype(np.float16)
    scaled = (weight.astype(np.float64) * scale[:, None, None, None]).astype(np.float16)
    wrong = scaled.copy()
    place = tuple(np.argwhere(np.sign(wrong) == sign)[7])
    for _ in range(2):
        wrong[place] = np.nextafter(wrong[place], np.float16(sign * np.inf))
    ports = {"x": (HALF, [1, 3, 6, 6])}, {"y": (HALF, [1, 4, 4, 4])}
    nodes = [node("Conv", "x w", "c"), node("Relu", "c", "r"), node("Mul", "r s", "y")]
    original = model(nodes, *ports, {"w": weight, "s": scale[None, :, None, None]})
    right, off = (
        model([node("Conv", "x v", "d"), node("Relu", "d", "y")], *ports, {"v": values}) for values in (scaled, wrong)
    )
    assert check(original, right, ONCE).passed
    assert "has a number that was not rounded once" in check(original, off, ONCE).problem
