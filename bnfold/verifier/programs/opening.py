"""A model of torch as a program that the verifier can run."""

from collections.abc import Collection

from bnfold.errors import UsageError
from bnfold.verifier.programs.exported import RunnableExport
from bnfold.verifier.programs.program import TorchProgram
from bnfold.verifier.programs.scripts import RunnableScript


def open_program(role: str, model: object, named: Collection[str] = ()) -> TorchProgram:
    """A ScriptModule or an ExportedProgram as a program; it is left as it is.

    Args:
        role: how messages call it.
        model: the model.
        named: the inputs of which the caller says anything: they say what lists and dicts hold.

    Raises:
        UsageError: it is neither.
    """
    import torch

    if isinstance(model, torch.jit.ScriptModule):
        return RunnableScript(role, model, named)
    if isinstance(model, torch.export.ExportedProgram):
        return RunnableExport(role, model)
    raise UsageError(f"cannot check a {type(model).__name__}: expected a ScriptModule or an ExportedProgram")
