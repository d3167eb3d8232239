"""What the command calls its wishes in messages, where Python has keywords."""

from collections.abc import Mapping

_OTHERWISE = {
    "shapes": "--shape",
    "imports": "--import",
    "verbose": "-v",
    "VerifyOptions.dims": "--dim",
    "VerifyOptions.inputs": "--input",
    "VerifyOptions.memory": "--verify-memory",
    "Limits.seconds": "--time-limit",
    "Limits.memory": "--memory-limit",
}


def as_option(name: str, value: object) -> str:
    """An option of the command; see `bnfold.keywords.keyword`."""
    option = _OTHERWISE.get(name) or f"--{name.rpartition('.')[2].replace('_', '-')}"
    match value:
        case None | True:
            return option
        case False:
            return f"--no-{option.removeprefix('--')}"
        case Mapping():
            return " ".join(f"{option} {entry}={_sizes(sizes)}" for entry, sizes in value.items())
        case _:
            return f"{option} {value}"


def _sizes(sizes: object) -> str:
    return ",".join(map(str, sizes)) if isinstance(sizes, tuple) else str(sizes)
