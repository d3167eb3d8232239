"""Names out of a file: what may become a variable, an attribute or a path in the Python source that torch generates."""

import keyword
import re
import unicodedata

_LONGEST = 1_000
# Keys of a ModuleDict may be no identifiers; torch writes such a part between double quotes into the source.
_PART = re.compile(r"[\w\-+:/@#= ]+")
_DOTTED = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", re.ASCII)


def is_variable(name: object) -> bool:
    """Whether it can be nothing but a variable in Python source."""
    return (
        isinstance(name, str)
        and name.isidentifier()
        and len(name) <= _LONGEST
        and not keyword.iskeyword(unicodedata.normalize("NFKC", name))
    )


def is_path(name: object) -> bool:
    """Whether it is the path of a parameter or module, such as "layer1.0.conv.weight"; the root's is empty."""
    return (
        isinstance(name, str)
        and len(name) <= _LONGEST
        and (not name or all(_PART.fullmatch(part) for part in name.split(".")))
    )


def is_dotted(name: object) -> bool:
    """Whether it is the full name of something in a Python module, such as "torch.nn.functional.relu"."""
    return isinstance(name, str) and len(name) <= _LONGEST and _DOTTED.fullmatch(name) is not None
