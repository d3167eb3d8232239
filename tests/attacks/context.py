"""Good files to spoil, payloads that leave a mark, and a list of attacks."""

import functools
import io
import json
import pickle
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from tests.torch_export.folding import export
from tests.torchscript.folding import compiled, deprecations_silenced


@dataclass
class Attack:
    """A hostile file.

    Attributes:
        make: gives its bytes, out of a Context.
        fires: whether torch itself, asked to load the file and make a module of it, would leave the mark.
    """

    make: object
    fires: bool = False


@dataclass
class Context:
    """What an attack is made of: the mark that its payload leaves, and good files of each kind."""

    mark: Path

    @property
    def program(self):
        """Entries of a file of torch.export.save."""
        return dict(good_program())

    @property
    def script(self):
        """Entries of a TorchScript file."""
        return dict(good_script())

    @property
    def bomb(self):
        """A file of torch.save that leaves the mark."""
        buffer = io.BytesIO()
        torch.save(Bomb(self.mark), buffer)
        return buffer.getvalue()

    @property
    def bare_bomb(self):
        """A pickle that leaves the mark."""
        return pickle.dumps(Bomb(self.mark), 2)

    @property
    def code(self):
        """An expression without dots and double quotes that leaves the mark."""
        return f"open('{self.mark}','w')"


class Bomb:
    """Leaves a mark when it is unpickled."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return open, (str(self.mark), "w")


def entries(data):
    """Of a zip: bytes by name."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@functools.cache
def good_program():
    """A convolution and a BatchNorm on batches of any size, with a guard."""
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).eval()
    batch = torch.export.Dim("batch", min=2, max=8)
    buffer = io.BytesIO()
    torch.export.save(export(module, torch.randn(2, 3, 8, 8), dynamic_shapes=({0: batch},)), buffer)
    return tuple(entries(buffer.getvalue()).items())


@functools.cache
def good_script():
    """A convolution and a BatchNorm, from a process of its own: names of classes depend on what was compiled before."""
    code = "import sys; from tests.attacks.context import fresh_script; sys.stdout.buffer.write(fresh_script())"
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], cwd=root, check=True, capture_output=True)
    return tuple(entries(done.stdout).items())


def fresh_script():
    """A convolution and a BatchNorm, as a TorchScript file."""
    buffer = io.BytesIO()
    with deprecations_silenced():
        torch.jit.save(compiled(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).eval(), "scripted"), buffer)
    return buffer.getvalue()


def named(parts, ending):
    """The name of the entry that ends so."""
    return next(name for name in parts if name.endswith(ending))


def with_json(parts, ending, change):
    """The entries, one JSON of them changed in place."""
    name = named(parts, ending)
    tree = json.loads(parts[name])
    changed = change(tree)
    return {**parts, name: json.dumps(tree if changed is None else changed).encode()}


def everywhere(tree, key, value):
    """Every value of a key replaced, in a tree of JSON."""
    if isinstance(tree, dict):
        for name in tree:
            if name == key:
                tree[name] = value
            else:
                everywhere(tree[name], key, value)
    elif isinstance(tree, list):
        for part in tree:
            everywhere(part, key, value)


def renamed(data, old, new):
    """A text of JSON with a name replaced wherever it stands."""
    return data.replace(json.dumps(old).encode(), json.dumps(new).encode())
