"""Exported programs with wide statistics, folded and compared with the module that they come from."""

import io
import warnings

import torch
from torch import nn

import bnfold

TOLERANCE = {torch.float64: 1e-12, torch.float32: 3e-5, torch.float16: 2e-2, torch.bfloat16: 1e-1}


def randomise(module, seed=0):
    """Statistics and weights of every BatchNorm that make a wrong fold show: a zero, a tiny and negative gammas."""
    generator = torch.Generator().manual_seed(seed)
    for norm in module.modules():
        if not isinstance(norm, nn.modules.batchnorm._BatchNorm):
            continue
        if norm.running_mean is not None:
            norm.running_mean.copy_(torch.randn(norm.running_mean.shape, generator=generator) * 2)
            norm.running_var.copy_(torch.rand(norm.running_var.shape, generator=generator) * 10 + 0.1)
        if norm.affine:
            norm.weight.data.copy_(torch.randn(norm.weight.shape, generator=generator))
            norm.bias.data.copy_(torch.randn(norm.bias.shape, generator=generator))
            if norm.weight.numel() > 2:
                norm.weight.data[0], norm.weight.data[1] = 0.0, -1e-3
    return module


def export(module, *inputs, decomposed=False, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch's exporter: not what is tested here
        program = torch.export.export(module, inputs, **options)
        return program.run_decompositions() if decomposed else program


def fold(program, **options):
    """The result; the given program must be as it was, and the new one must compute the same from a file, too."""
    before = {name: tensor.clone() for name, tensor in program.state_dict.items()}
    text = str(program.graph)
    result = bnfold.fold(program, verify=None, **options)
    assert str(program.graph) == text
    assert before.keys() == program.state_dict.keys()
    for name, tensor in before.items():
        torch.testing.assert_close(program.state_dict[name], tensor, rtol=0, atol=0, equal_nan=True)
    return result


def assert_same(program, folded, *inputs):
    """Both give the same on these inputs, and so does the new one once it was saved and loaded."""
    with torch.no_grad():
        expected = leaves(program.module()(*clones(inputs)))
        for new in (folded, reloaded(folded)):
            for mine, theirs in zip(leaves(new.module()(*clones(inputs))), expected, strict=True):
                assert mine.dtype == theirs.dtype
                assert mine.shape == theirs.shape
                scale = theirs.double().abs().max().clamp(min=1e-30)
                assert (mine.double() - theirs.double()).abs().max() / scale < TOLERANCE.get(mine.dtype, 0.5)


def reloaded(program):
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"torch(\.|$)|copyreg")
        torch.export.save(program, buffer)
        buffer.seek(0)
        return torch.export.load(buffer)


def clones(inputs):
    return [tensor.clone() if isinstance(tensor, torch.Tensor) else tensor for tensor in inputs]


def leaves(result):
    return [result] if isinstance(result, torch.Tensor) else list(result)


def counts(result):
    norms = result.report.batch_norms
    return norms.folded, norms.kept


def reasons(result):
    return [kept.refusals[0].reason for kept in result.report.outcome.kept if kept.is_batch_norm]
