"""Classes in a TorchScript archive, rewritten where torch's Python API cannot: members taken out, parameters listed.

torch can add an attribute to a module but neither call it a parameter nor remove one. The archive's code says all that
in the first lines of each class, one attribute a line, and torch.jit.load follows what they say.
"""

import io
import re
import zipfile
from collections.abc import Iterable, Iterator, Mapping

import torch

from bnfold.frontends.torchscript.retire import ClassMember
from bnfold.frontends.torchscript.storage import read_module, write_module

_CLASS = re.compile(r"class (\w+)\(.*\):$")
_ATTRIBUTE = re.compile(r'  (?:(\w+) : |__annotations__\["([^"]+)"\] = )')
_METHOD = re.compile(r"  def (\w+)\(")
_LIST = re.compile(r"  (__parameters__|__buffers__) = \[(.*)\]$")


def rewritten(
    module: torch.jit.ScriptModule,
    attributes: Iterable[ClassMember],
    methods: Iterable[ClassMember],
    parameters: Mapping[str, Iterable[str]],
) -> torch.jit.ScriptModule:
    """A module like this one, read back from an archive with other classes.

    Args:
        module: the module.
        attributes: to take out.
        methods: to take out.
        parameters: attributes that are parameters from now on, by the qualified name of their class.
    """
    written, edited = io.BytesIO(), io.BytesIO()
    write_module(module, written)
    rewriter = _Rewriter(set(attributes), set(methods), parameters)
    with zipfile.ZipFile(written) as source, zipfile.ZipFile(edited, "w") as target:
        for entry in source.infolist():
            data = source.read(entry)
            if entry.filename.endswith(".py.debug_pkl"):
                continue  # where each piece of the text came from: it would point to the wrong places
            if entry.filename.endswith(".py"):
                data = rewriter.rewrite(_module_name(entry.filename), data.decode()).encode()
            target.writestr(entry.filename, data)
    edited.seek(0)
    return read_module(edited)


def _module_name(path: str) -> str:
    """archive/code/__torch__/a/b.py holds the classes of __torch__.a.b."""
    return path.partition("/code/")[2].removesuffix(".py").replace("/", ".")


class _Rewriter:
    def __init__(
        self, attributes: set[ClassMember], methods: set[ClassMember], parameters: Mapping[str, Iterable[str]]
    ) -> None:
        self._attributes = attributes
        self._methods = methods
        self._parameters = parameters

    def rewrite(self, module_name: str, text: str) -> str:
        """The text of one file of code."""
        return "\n".join(self._lines(module_name, text.split("\n")))

    def _lines(self, module_name: str, lines: list[str]) -> Iterator[str]:
        class_name = ""
        skipping = False
        for line in lines:
            if (start := _CLASS.match(line)) is not None:
                class_name = f"{module_name}.{start[1]}"
            elif line and not line.startswith(" "):
                class_name = ""
            if not line.startswith("   "):
                skipping = bool(class_name) and self._is_retired(class_name, line)
            if not skipping:
                yield self._listed(class_name, line)

    def _is_retired(self, class_name: str, line: str) -> bool:
        """Whether a line begins something that goes; deeper lines behind it go with it."""
        if (method := _METHOD.match(line)) is not None:
            return (class_name, method[1]) in self._methods
        attribute = _ATTRIBUTE.match(line)
        return attribute is not None and (class_name, attribute[1] or attribute[2]) in self._attributes

    def _listed(self, class_name: str, line: str) -> str:
        """The lists of parameters and buffers, without what goes and with what is new."""
        listed = _LIST.match(line) if class_name else None
        if listed is None:
            return line
        names = re.findall(r'"([^"]+)"', listed[2])
        names = [name for name in names if (class_name, name) not in self._attributes]
        if listed[1] == "__parameters__":
            names += self._parameters.get(class_name, ())
        return f"  {listed[1]} = [{''.join(f'{chr(34)}{name}{chr(34)}, ' for name in names)}]"
