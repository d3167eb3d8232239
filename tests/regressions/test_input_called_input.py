"""An exported program whose input is called like a builtin of Python."""

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install '.[torch]'")
from torch import nn  # noqa: E402

import bnfold  # noqa: E402
from tests.comparing import assert_equal_results  # noqa: E402


def test_sequential_calls_its_input_input():
    x = torch.randn(2, 4, 9)
    program = torch.export.export(nn.Sequential(nn.Conv1d(4, 6, 3), nn.BatchNorm1d(6)).eval(), (x,))
    result = bnfold.fold(program, verify=None)
    assert result.report.batch_norms.folded == 1
    assert result.model.graph_signature.user_inputs == program.graph_signature.user_inputs == ("input",)
    assert_equal_results(program.module()(x), result.model.module()(x))
