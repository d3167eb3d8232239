"""Exported programs with wide statistics, folded and compared with the module that they come from."""

import io
import warnings
from copy import deepcopy

import torch

import bnfold
from tests.torch_modules import assert_same_calls


def export(module, *inputs, decomposed=False, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch's exporter: not what is tested here
        program = torch.export.export(module, inputs, **options)
    return decompose(program) if decomposed else program


def decompose(program):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # as above
        return program.run_decompositions()


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
    """Both give the same, and so does the new one once it was saved and loaded; see `assert_same_calls`."""
    assert_same_calls(_called(program), [_called(new) for new in (folded, reloaded(folded))], inputs)


def _called(program):
    """A module that a test may call, also where calls write to buffers of the program that it is made of."""
    if not program.graph_signature.buffers_to_mutate:
        return program.module()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of torch's pytree, which copying calls
        return deepcopy(program).module()


def reloaded(program):
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"torch(\.|$)|copyreg")
        torch.export.save(program, buffer)
        buffer.seek(0)
        return torch.export.load(buffer)


def counts(result):
    norms = result.report.batch_norms
    return norms.folded, norms.kept


def reasons(result):
    return [kept.refusals[0].reason for kept in result.report.outcome.kept if kept.is_batch_norm]
