"""What the original's own noise excuses in programs of torch, and what it does not."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install '.[torch]'")
from torch import nn  # noqa: E402

from bnfold.verifier.compare.perturbed_weights import noise_of_step, step_of  # noqa: E402
from bnfold.verifier.programs.opening import open_program  # noqa: E402
from tests.torchscript.folding import compiled  # noqa: E402


def test_weights_of_a_copy_move_for_a_while_and_are_then_what_they_were():
    module = compiled(nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5)).eval(), "scripted")
    program = open_program("the original", module)
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    weight = next(tensor for tensor in program.weights if tensor.shape == (5, 6))
    leaves = [torch.randn(4, 6)]
    expected = program.run(leaves)["output"]

    def use_and_fail():
        with program.perturbed(0, 4):
            relative = (weight / before["0.weight"] - 1).abs()
            assert torch.all((relative > 3 * 2**-23) & (relative < 5 * 2**-23))
            assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())
            assert np.any(program.run(leaves)["output"] != expected)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        use_and_fail()
    assert torch.equal(weight, before["0.weight"])
    assert np.array_equal(program.run(leaves)["output"], expected)


def test_growth_is_divided_by_the_step_and_a_jump_is_not():
    assert [step_of(number) for number in range(6)] == [1, 1, 2, 2, 4, 4]
    noise = noise_of_step(np.array([8e-7, 0.5]), 4, np.array([2e-7, 2e-7]))
    assert noise.tolist() == [2e-7, 0.5]
