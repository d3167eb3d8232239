"""See executorch."""

from torch.export import ExportedProgram


class ExecutorchProgramManager:
    """A program in its last form."""

    buffer = b"recorded"


class EdgeProgramManager:
    """A program in the edge dialect."""

    def to_executorch(self, config=None) -> ExecutorchProgramManager:
        return ExecutorchProgramManager()


def to_edge_transform_and_lower(
    programs,
    transform_passes=None,
    partitioner=None,
    constant_methods=None,
    compile_config=None,
    generate_etrecord=False,
) -> EdgeProgramManager:
    """Takes what torch.export makes, and nothing else."""
    assert isinstance(programs, ExportedProgram)
    return EdgeProgramManager()
