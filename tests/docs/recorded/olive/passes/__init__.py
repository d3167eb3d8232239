"""See olive."""


class Pass:
    """What a pass derives from: it says which options it has, and changes one model."""

    def __init__(self, accelerator_spec, config, host_device=None) -> None: ...
