"""Which kind of archive a zip is, and which entries it may have. Nothing of torch is imported.

Every entry stands in one folder, whose name is that of the file that was written; in files of torch.export.save of
torch 2.4 to 2.7 there is no folder.
"""

import re
from collections.abc import Iterable, Mapping
from typing import TypeVar

from bnfold.errors import ModelFormatError, UnsupportedModelError

Content = TypeVar("Content")

_OLD_PROGRAM = "serialized_exported_program.json"
_COMPILED = re.compile(r"data/(aotinductor|executorch|mtia)\b|\.(so|dll|dylib|ptx|cubin)$")

_OF_SCRIPTS = re.compile(
    r"data\.pkl|constants\.pkl|traced_inputs\.pkl|bytecode\.pkl|mobile_debug_handles\.pkl|"
    r"delegated_backends\.debug_pkl|callstack_debug_map\.pkl|"
    r"(data|constants|traced_inputs|bytecode|extra)/.+|code/.+\.py(\.debug_pkl)?|"
    r"attributes\.pkl|attributes/.+|version|byteorder|\.data/\w+|\.format_version|\.storage_alignment"
)
_OF_PROGRAMS = re.compile(
    r"archive_format|archive_version|byteorder|version|\.data/\w+|\.format_version|\.storage_alignment|models/model\.json|"
    r"data/weights/(weight_\d+|model_weights_config\.json|model\.pt)|"
    r"data/constants/((tensor|custom_obj|opaque_obj)_\d+|model_constants_config\.json|model\.pt)|"
    r"data/sample_inputs/model\.pt|extra/.+"
)
_OF_OLD_PROGRAMS = re.compile(
    r"version|serialized_exported_program\.json|serialized_(state_dict|constants)\.(pt|json)|"
    r"serialized_example_inputs\.pt|extra_files/.+"
)


def is_torchscript(names: Iterable[str]) -> bool:
    """Whether a zip with these entries was written by torch.jit.save: it holds code, and constants beside its data."""
    parts = [name.split("/") for name in names]
    return any(len(part) > 2 and part[1] == "code" for part in parts) and any(
        part[1:] == ["constants.pkl"] for part in parts
    )


def is_torch_export(names: Iterable[str]) -> bool:
    """Whether a zip with these entries was written by torch.export.save, of torch 2.4 to 2.7 or of 2.8 and newer."""
    parts = [name.split("/") for name in names]
    archive = any(part[1:] == ["archive_format"] for part in parts)
    model = any(len(part) == 3 and part[1] == "models" and part[2].endswith(".json") for part in parts)
    return (archive and model) or [_OLD_PROGRAM] in parts


def parts_of_script(entries: Mapping[str, Content]) -> dict[str, Content]:
    """The parts of a TorchScript file by their names in its folder.

    Raises:
        ModelFormatError: it is something else, or has parts that torch.jit.save does not write.
    """
    if not is_torchscript(entries):
        kind = (
            "a file of torch.save" if any(name.endswith("data.pkl") for name in entries) else "a zip of something else"
        )
        raise ModelFormatError(
            f"is {kind}, not TorchScript: write it with torch.jit.save(torch.jit.script(model), path)"
        )
    return _in_one_folder(entries, _OF_SCRIPTS)


def parts_of_program(entries: Mapping[str, Content]) -> dict[str, Content]:
    """The parts of a file of torch.export.save by their names in its folder.

    Raises:
        ModelFormatError: it has parts that torch.export.save does not write.
        UnsupportedModelError: it holds compiled code, or several programs.
    """
    compiled = next((name for name in entries if _COMPILED.search(name)), None)
    if compiled is not None:
        raise UnsupportedModelError(f"holds compiled code ({compiled!r}): it is not loaded")
    if _OLD_PROGRAM in entries:
        return _allowed(dict(entries), _OF_OLD_PROGRAMS)
    models = [name.split("/", 2)[2] for name in entries if re.fullmatch(r"[^/]+/models/.+", name)]
    if models != ["model.json"]:
        raise UnsupportedModelError(
            f"holds {len(models)} programs ({', '.join(models)[:80]}); files of one, called 'model.json', are folded"
        )
    return _in_one_folder(entries, _OF_PROGRAMS)


def is_old_program(parts: Iterable[str]) -> bool:
    """Whether the parts are those that torch 2.4 to 2.7 wrote."""
    return _OLD_PROGRAM in parts


def _in_one_folder(entries: Mapping[str, Content], allowed: re.Pattern[str]) -> dict[str, Content]:
    folders = {name.partition("/")[0] for name in entries}
    if len(folders) > 1:
        raise ModelFormatError(f"is not a file that torch writes: it has {len(folders)} folders at its top")
    return _allowed({name.partition("/")[2]: content for name, content in entries.items()}, allowed)


def _allowed(parts: dict[str, Content], allowed: re.Pattern[str]) -> dict[str, Content]:
    odd = next((name for name in parts if not allowed.fullmatch(name)), None)
    if odd is not None:
        raise ModelFormatError(f"is not a file that torch writes: it has an entry called {odd!r}")
    return parts
