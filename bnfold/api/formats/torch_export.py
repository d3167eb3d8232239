"""Programs of torch.export."""

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from torch.export import ExportedProgram

from bnfold.api.formats.folding import fold_as_asked
from bnfold.api.formats.program_kind import Lowered, ShapedOptions
from bnfold.api.formats.programs import ProgramFormat
from bnfold.api.options import FoldOptions
from bnfold.errors import UsageError
from bnfold.frontends.aten.inference import assume_inference
from bnfold.frontends.aten.port import AtenPort
from bnfold.frontends.torch_export.file import open_program, save_program, save_program_like
from bnfold.frontends.torch_export.lift import lift
from bnfold.frontends.torch_export.lower import lower, separated
from bnfold.outcome import Change
from bnfold.report.model import FormatName


class ExportFormat(ProgramFormat[ExportedProgram]):
    """See ProgramFormat."""

    name: FormatName = "torch_export"

    def read(self, path: Path, options: FoldOptions) -> ExportedProgram:
        """See ProgramFormat."""
        return open_program(path, options.imports)

    def write_like(self, source: Path, program: ExportedProgram, path: Path, options: FoldOptions) -> Sequence[str]:
        """See ProgramFormat."""
        return save_program_like(source, program, path, options.imports)

    def write(self, model: object, folder: Path, target: Path) -> Sequence[Path]:
        """See Format."""
        staged = folder / target.name
        save_program(self.require(model), staged)
        return (staged,)

    def fold(
        self,
        program: ExportedProgram,
        options: FoldOptions,
        without: Collection[int],
        *,
        learns: bool = True,  # noqa: ARG002 - the program says its shapes itself
    ) -> Lowered[ExportedProgram]:
        """See ProgramFormat."""
        program = separated(program)
        reference = program
        if options.assume_inference:
            graph = lift(program)
            if assume_inference(graph):
                reference = lower(program, graph)
        graph = lift(reference)
        before = len(graph.nodes)
        port = AtenPort(graph, exclude=options.exclude, without=without)
        outcome = fold_as_asked(port, options, lower=options.lower)
        nodes = Change(before, len(graph.nodes))
        return Lowered(lower(reference, graph), reference, outcome, nodes, read_as_inference=reference is not program)

    def stored(self, program: ExportedProgram) -> Iterable[object]:
        """See ProgramFormat."""
        return (*program.state_dict.values(), *program.constants.values())

    def arguments_for_export(self, program: ExportedProgram, options: FoldOptions) -> Sequence[object]:  # noqa: ARG002
        """It holds an example of its own."""
        return ()

    def feeding(self, program: ExportedProgram, options: FoldOptions, file: Path | None) -> ShapedOptions:  # noqa: ARG002
        """It says its shapes itself."""
        return ShapedOptions(options)

    def require(self, model: object) -> ExportedProgram:
        """See ProgramFormat."""
        if not isinstance(model, ExportedProgram):
            raise UsageError(f"got {type(model).__name__}, expected a torch.export.ExportedProgram")
        return model
