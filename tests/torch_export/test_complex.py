"""Programs that read and make complex numbers: fed, and compared."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install '.[torch]'")
from torch import nn  # noqa: E402

import bnfold  # noqa: E402
from bnfold.verifier import VerifyOptions  # noqa: E402
from tests.comparing import assert_equal_results  # noqa: E402
from tests.torch_export.folding import export  # noqa: E402


class ComplexConv(nn.Module):
    """A convolution of complex numbers out of two of real ones, with a BatchNorm for each part."""

    def __init__(self):
        super().__init__()
        self.re, self.im = nn.Conv2d(2, 3, 3), nn.Conv2d(2, 3, 3)
        self.norm_re, self.norm_im = nn.BatchNorm2d(3), nn.BatchNorm2d(3)

    def forward(self, z):
        re = self.norm_re(self.re(z.real) - self.im(z.imag))
        im = self.norm_im(self.re(z.imag) + self.im(z.real))
        return torch.complex(re, im)


def program():
    torch.manual_seed(0)
    module = ComplexConv().eval()
    for norm in (module.norm_re, module.norm_im):
        nn.init.uniform_(norm.running_mean, -1, 1)
        nn.init.uniform_(norm.running_var, 0.5, 2)
        nn.init.uniform_(norm.weight, -2, 2)
    return export(module, torch.randn(2, 2, 5, 5, dtype=torch.complex64))


def test_complex_numbers_are_fed_and_compared():
    original = program()
    result = bnfold.fold(original)
    assert (result.report.batch_norms.folded, result.report.verification.passed) == (2, True)
    z = torch.randn(2, 2, 5, 5, dtype=torch.complex64)
    assert_equal_results(original.module()(z), result.model.module()(z))


def test_complex_samples_of_the_caller():
    random = np.random.default_rng(0)
    sample = (random.normal(size=(2, 2, 5, 5)) + 1j * random.normal(size=(2, 2, 5, 5))).astype(np.complex64)
    result = bnfold.fold(program(), verify=VerifyOptions(inputs={"z": sample}))
    assert result.report.verification.passed


def test_a_wrong_imaginary_part_is_found():
    original, wrong = program(), program()
    with torch.no_grad():
        wrong.state_dict["im.weight"][0, 0, 0, 0] += 0.01
    from bnfold.verifier.programs.check import check_torch

    assert not check_torch(original, wrong, VerifyOptions()).passed
