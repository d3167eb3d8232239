"""Files of torch.save hold no program: one line says what they are and what to do, and nothing in them runs."""

import argparse
import os
import pickle

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'bnfold[torch]'")
from torch import nn  # noqa: E402

from bnfold.api.formats.registry import format_of_file  # noqa: E402
from bnfold.errors import ModelFormatError  # noqa: E402

NOT_RUN = "nothing in it was executed"
MODULE = "a whole module of the class 'torch.nn.modules.container.Sequential'"
STATE = "a state dict of 7 tensors"


class Bomb:
    def __init__(self, mark):
        self._mark = mark

    def __reduce__(self):
        return (os.mkdir, (str(self._mark),))


def network():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))


def told(path):
    with pytest.raises(ModelFormatError) as error:
        format_of_file(path)
    text = str(error.value)
    assert NOT_RUN in text
    assert "torch.export.save" in text
    assert "\n" not in text
    return text


def itself(network):
    return network


def state(network):
    return network.state_dict()


def as_ultralytics_writes_it(network):
    return {"epoch": 3, "ema": None, "model": network, "optimizer": None, "train_args": argparse.Namespace(lr=0.1)}


def as_lightning_writes_it(network):
    return {"epoch": 1, "hyper_parameters": {"lr": 0.1}, "state_dict": network.state_dict()}


@pytest.mark.parametrize(
    ("value", "what"),
    [
        (itself, f"({MODULE})"),
        (state, f"({STATE})"),
        (as_ultralytics_writes_it, f"(a checkpoint, whose 'model' is {MODULE})"),
        (as_lightning_writes_it, f"(a checkpoint, whose 'state_dict' is {STATE})"),
        (lambda _: {"lr": 0.1, "epoch": 3}, "(a dict of 'lr', 'epoch')"),
        (lambda _: [1, 2], "(a list)"),
        (lambda _: torch.zeros(3), "(a tensor)"),
        (lambda _: argparse.Namespace(), "(an object of the class 'argparse.Namespace')"),
    ],
)
def test_it_says_what_the_file_is(tmp_path, value, what):
    path = tmp_path / "model.pt"
    torch.save(value(network()), path)
    assert what in told(path)


@pytest.mark.parametrize(("value", "what"), [(state, STATE), (as_lightning_writes_it, f"'state_dict' is {STATE}")])
def test_files_of_older_versions(tmp_path, value, what):
    path = tmp_path / "model.pth"
    torch.save(value(network()), path, _use_new_zipfile_serialization=False)
    assert what in told(path)


def test_a_module_that_pickle_wrote(tmp_path):
    path = tmp_path / "model.pkl"
    path.write_bytes(pickle.dumps(network()))
    assert MODULE in told(path)


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("place", ["as_value", "as_key_of_nothing", "in_a_module"])
def test_bombs_do_not_run(tmp_path, legacy, place):
    mark = tmp_path / "mark"
    path = tmp_path / "model.pt"
    bomb = Bomb(mark)
    module = network()
    module.bomb = bomb
    held = {"as_value": bomb, "as_key_of_nothing": {"model": bomb, "state_dict": {}}, "in_a_module": {"model": module}}
    torch.save(held[place], path, _use_new_zipfile_serialization=not legacy)
    told(path)
    assert not mark.exists()
    torch.load(path, weights_only=False)
    assert mark.exists()  # the payload is a real one


def test_names_of_the_files_choice_are_short_and_in_one_line(tmp_path):
    path = tmp_path / "model.pt"
    torch.save({"a\nb\x1b[2J" + "c" * 1000: 1, ("t",) * 50: 2}, path)
    text = told(path)
    assert "\x1b" not in text
    assert len(text) < 400


def test_a_dict_that_shares_one_large_dict_among_its_keys(tmp_path):
    path = tmp_path / "model.pt"
    large = dict.fromkeys(range(20_000))
    torch.save({str(key): large for key in range(20_000)}, path)
    assert "(a dict of '0', '1', '2')" in told(path)


def test_a_value_that_holds_itself(tmp_path):
    path = tmp_path / "model.pt"
    module = network()
    module.again = [module]
    torch.save({"model": module}, path)
    assert MODULE in told(path)


def test_a_pickle_that_is_cut_off(tmp_path):
    path = tmp_path / "model.pt"
    path.write_bytes(pickle.dumps(network().state_dict(), 2)[:200])
    assert "a state dict or a whole module" in told(path)
