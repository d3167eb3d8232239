"""See executorch."""


class XnnpackPartitioner:
    """Says which operators a delegate takes."""

    def __init__(self, configs=None, config_precisions=None, per_op_mode=False, verbose=False, **kwargs) -> None: ...
