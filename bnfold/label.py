"""What people call a node."""


class Label(str):
    """A node's label with its operator beside it: of a node without a name, the name of its tensor says little.

    Args:
        label: its name, or that of its output.
        op: operator type as the file spells it.
    """

    __slots__ = ("op",)
    op: str

    def __new__(cls, label: str, op: str) -> "Label":  # noqa: D102
        self = super().__new__(cls, label)
        self.op = op
        return self

    def __reduce__(self) -> tuple[type["Label"], tuple[str, str]]:
        return Label, (str(self), self.op)
