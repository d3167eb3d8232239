"""See olive."""

from dataclasses import dataclass


@dataclass
class PassConfigParam:
    """One option of a pass."""

    type_: object
    required: bool = False
    default_value: object = None
    search_defaults: object = None
    description: str | None = None
