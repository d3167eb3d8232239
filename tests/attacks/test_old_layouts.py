"""Legal files in the layouts that older versions of torch wrote, and weights that are pickled for no need."""

import io
import json

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'bnfold[torch]'")

from torch import nn  # noqa: E402
from torch._export.serde.serialize import serialize  # noqa: E402

from bnfold.frontends.torch_export.file import open_program  # noqa: E402
from tests.attacks.context import entries, named  # noqa: E402
from tests.attacks.zips import archive  # noqa: E402
from tests.comparing import assert_equal_results  # noqa: E402
from tests.torch_export.folding import assert_same, export  # noqa: E402


class Shares(nn.Module):
    """Two parameters on one storage, a buffer that is a view, and a constant."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.twin = self.conv.weight
        base = torch.randn(8)
        self.register_buffer("base", base)
        self.register_buffer("view", base[2:6])
        self.constant = torch.randn(4, 1, 1)

    def forward(self, x):
        return self.conv(x) + self.view.reshape(4, 1, 1) * self.twin.sum() + self.constant + self.base.mean()


@pytest.fixture(scope="module")
def program():
    return export(Shares().eval(), torch.randn(2, 3, 8, 8))


def saved(value):
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def assert_opens(program, data, tmp_path):
    path = tmp_path / "old.pt2"
    path.write_bytes(data)
    opened = open_program(path)
    assert_same(program, opened, torch.randn(2, 3, 8, 8))
    assert list(opened.state_dict) == list(program.state_dict)
    assert isinstance(opened.state_dict["conv.weight"], nn.Parameter)
    assert opened.example_inputs is not None
    assert_equal_results(program.example_inputs, opened.example_inputs)
    storages = [opened.state_dict[name].untyped_storage().data_ptr() for name in ("base", "view")]
    assert storages[0] == storages[1]


def test_the_layout_of_torch_2_4_to_2_7(program, tmp_path):
    artifact = serialize(program)
    parts = {
        "version": b"8.1",
        "serialized_exported_program.json": artifact.exported_program,
        "serialized_state_dict.pt": artifact.state_dict,
        "serialized_constants.pt": artifact.constants,
        "serialized_example_inputs.pt": artifact.example_inputs,
        "extra_files/note.txt": b"kept",
    }
    assert_opens(program, archive(parts), tmp_path)


def test_all_weights_in_one_pickle(program, tmp_path):
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    parts = entries(buffer.getvalue())
    folder = next(iter(parts)).partition("/")[0]
    parts = {name: data for name, data in parts.items() if "/weights/" not in name and "/constants/" not in name}
    parts[f"{folder}/data/weights/model.pt"] = saved(dict(program.state_dict))
    parts[f"{folder}/data/constants/model.pt"] = saved(dict(program.constants))
    assert_opens(program, archive(parts), tmp_path)


def test_a_weight_that_is_pickled_for_no_need(program, tmp_path):
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    parts = entries(buffer.getvalue())
    name = named(parts, "model_weights_config.json")
    config = json.loads(parts[name])
    weight = config["config"]["conv.bias"]
    weight["use_pickle"] = True
    parts[name] = json.dumps(config).encode()
    parts[named(parts, f"/weights/{weight['path_name']}")] = saved(program.state_dict["conv.bias"])
    assert_opens(program, archive(parts), tmp_path)


@pytest.mark.parametrize(
    "inputs",
    [
        {"kind": torch.Size([1, 2]), "where": torch.device("cpu"), "type": torch.float16, "z": 1 + 2j, "s": {1, 2}},
        [torch.ones(2, 3).t(), torch.zeros(0, 4), torch.tensor(1.5), torch.ones(3, dtype=torch.uint16)],
        [torch.ones(4, dtype=torch.bfloat16), torch.ones(2, dtype=torch.complex64), torch.tensor([True, False])],
        [None, "text", b"bytes", 2**62, -(2**62), 1.5, (), [], {}],
    ],
)
@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_what_sample_inputs_may_be(inputs, protocol):
    from bnfold.frontends.torch_archive.saved import read_saved, rebuilt

    buffer = io.BytesIO()
    torch.save((inputs, {}), buffer, pickle_protocol=protocol)
    again = rebuilt(read_saved("x", buffer.getvalue(), ()))
    assert type(again[0]) is type(inputs)
    pairs = zip(*(held.values() if isinstance(held, dict) else held for held in (inputs, again[0])), strict=True)
    for before, after in pairs:
        assert torch.equal(before, after) if isinstance(before, torch.Tensor) else before == after
        assert type(before) is type(after)
