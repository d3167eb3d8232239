"""TorchScript."""

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

import torch

from bnfold.api.formats.feeding import with_shapes
from bnfold.api.formats.folding import fold_as_asked
from bnfold.api.formats.program_kind import Lowered, ShapedOptions
from bnfold.api.formats.programs import ProgramFormat
from bnfold.api.options import FoldOptions
from bnfold.errors import UsageError
from bnfold.frontends.aten.port import AtenPort
from bnfold.frontends.torchscript.file import duplicate, inputs_of_trace, open_script, save_script, save_script_like
from bnfold.frontends.torchscript.program import ScriptProgram
from bnfold.outcome import Change
from bnfold.report.model import FormatName
from bnfold.verifier.programs.inputs import example_arguments


class ScriptFormat(ProgramFormat[torch.jit.ScriptModule]):
    """See ProgramFormat."""

    name: FormatName = "torchscript"

    def read(self, path: Path, options: FoldOptions) -> torch.jit.ScriptModule:
        """See ProgramFormat."""
        return open_script(path, options.imports)

    def write_like(
        self, source: Path, program: torch.jit.ScriptModule, path: Path, options: FoldOptions
    ) -> Sequence[str]:
        """See ProgramFormat."""
        return save_script_like(source, program, path, options.imports)

    def write(self, model: object, folder: Path, target: Path) -> Sequence[Path]:
        """See Format."""
        staged = folder / target.name
        save_script(self.require(model), staged)
        return (staged,)

    def fold(
        self,
        program: torch.jit.ScriptModule,
        options: FoldOptions,
        without: Collection[int] = (),
        *,
        learns: bool = True,
    ) -> Lowered[torch.jit.ScriptModule]:
        """See ProgramFormat. Where no shapes are learnt, only those ranks are known that the module fixes.

        Raises:
            UsageError: it is to be checked, and nothing says the shapes of its inputs.
        """
        reference = duplicate(program).eval() if options.assume_inference else program
        examples = _examples(reference, options) if learns else []
        lifted = ScriptProgram(reference, examples, assume_inference=options.assume_inference)
        before = len(lifted.graph.nodes)
        port = AtenPort(lifted.graph, exclude=options.exclude, without=without)
        outcome = fold_as_asked(port, options, lower=options.lower)
        nodes = Change(before, len(lifted.graph.nodes))
        changed = reference is not program and any(part.training for part in program.modules())
        return Lowered(lifted.finish(), reference, outcome, nodes, read_as_inference=changed)

    def stored(self, program: torch.jit.ScriptModule) -> Iterable[object]:
        """See ProgramFormat."""
        return (*program.parameters(), *program.buffers())

    def arguments_for_export(self, program: torch.jit.ScriptModule, options: FoldOptions) -> Sequence[object]:
        """See ProgramFormat."""
        return example_arguments(program, options.feeding)

    def feeding(self, program: torch.jit.ScriptModule, options: FoldOptions, file: Path | None) -> ShapedOptions:
        """The shapes of its trace, or those that its weights ask for. A module traced in memory says them itself."""
        return with_shapes(program, options, [] if file is None else inputs_of_trace(file))

    def require(self, model: object) -> torch.jit.ScriptModule:
        """See ProgramFormat."""
        if not isinstance(model, torch.jit.ScriptModule):
            raise UsageError(f"got {type(model).__name__}, expected a torch.jit.ScriptModule")
        return model


def _examples(module: torch.jit.ScriptModule, options: FoldOptions) -> list[Any]:
    """Arguments to learn shapes from; none where nothing says any and nobody will check the result."""
    try:
        return example_arguments(module, options.feeding)
    except UsageError:
        if options.check is not None or options.shapes:
            raise
        return []
