"""Files that were saved on a GPU, folded where there is none: made here from files of the CPU, text by text."""

import io
import json
import zipfile

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'bnfold[torch]'")
from torch import nn  # noqa: E402

import bnfold  # noqa: E402
from bnfold.api.options import FoldOptions  # noqa: E402
from bnfold.frontends.torch_archive.devices import Locations  # noqa: E402
from bnfold.frontends.torch_archive.locations import relocated  # noqa: E402
from bnfold.verifier import VerifyOptions  # noqa: E402
from tests.comparing import assert_equal_results  # noqa: E402
from tests.torch_export.folding import export  # noqa: E402
from tests.torch_modules import randomised  # noqa: E402
from tests.torchscript.folding import compiled, deprecations_silenced  # noqa: E402

X = torch.randn(2, 3, 6, 6)
CPU, GPU = b"X\x03\0\0\0cpu", b"X\x06\0\0\0cuda:0"


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.norm = nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4)
        self.second, self.last = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)
        self.where = "cpu"

    def forward(self, x):
        x = torch.relu(self.norm(self.first(x)))
        x = self.last(self.second(x * 2.0))
        return x + torch.ones_like(x, device=torch.device("cpu"))


def changed(path, change):
    """The zip with every entry as `change` makes it of its name and content."""
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    if isinstance(path, io.BytesIO):
        path = io.BytesIO()
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in parts.items():
            if not name.endswith("debug_pkl"):
                archive.writestr(name, change(name, content))
    return path


def moved_script(old, new):
    def change(name, content):
        if name.endswith(("data.pkl", "constants.pkl")):
            return content.replace(old, new)
        if name.endswith(".py"):
            return content.replace(b'device("%s")' % old[5:], b'device("%s")' % new[5:])
        return content

    return change


def moved_program(old, new):
    before, after = (
        {"type": text[5:].decode()[:4].rstrip(":"), "index": 0 if b":" in text else None} for text in (old, new)
    )

    def change(name, content):
        if name.endswith(".json"):
            return content.decode().replace(json.dumps(before), json.dumps(after)).encode()
        if name.endswith("sample_inputs/model.pt"):
            buffer = io.BytesIO(content)
            return changed(buffer, lambda _, part: part.replace(old, new)).getvalue()
        return content

    return change


def gpu_script(tmp_path, way="scripted"):
    torch.manual_seed(0)
    path = tmp_path / "gpu.pt"
    with deprecations_silenced():
        torch.jit.save(compiled(randomised(Small()), way, X), path)
    return changed(path, moved_script(CPU, GPU))


def gpu_program(tmp_path):
    torch.manual_seed(0)
    path = tmp_path / "gpu.pt2"
    torch.export.save(export(randomised(Small()), X), path)
    return changed(path, moved_program(CPU, GPU))


def parts_of(path):
    with zipfile.ZipFile(path) as archive:
        return {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}


@pytest.mark.parametrize("way", ["scripted", "traced"])
def test_a_script_of_a_gpu_folds_and_stays_one(tmp_path, way):
    source, target = gpu_script(tmp_path, way), tmp_path / "out.pt"
    report = bnfold.fold_file(source, target, FoldOptions(verify=VerifyOptions(shapes={"x": (2, 3, 6, 6)})))
    assert report.batch_norms.folded == 2
    before, after = parts_of(source), parts_of(target)
    for parts in (before, after):
        assert b"cuda:0" in parts["data.pkl"]
        code = b"".join(part for name, part in parts.items() if name.endswith(".py"))
        assert b'torch.device("cuda:0")' in code
        assert b'torch.device("cpu' not in code
    assert set(places_in(after["data.pkl"]).values()) == {"cuda:0"}
    assert CPU not in after["data.pkl"]
    with deprecations_silenced():
        expected = torch.jit.load(changed(source, moved_script(GPU, CPU)))(X)
        got = torch.jit.load(changed(target, moved_script(GPU, CPU)))(X)
    assert_equal_results(expected, got)


def test_an_exported_program_of_a_gpu_folds_and_stays_one(tmp_path):
    source, target = gpu_program(tmp_path), tmp_path / "out.pt2"
    report = bnfold.fold_file(source, target, FoldOptions())
    assert report.batch_norms.folded == 2
    for name, content in parts_of(target).items():
        if name.endswith(".json"):
            assert b'"cpu"' not in content
    assert parts_of(target)["models/model.json"].count(b'"cuda"') > 5
    samples = zipfile.ZipFile(io.BytesIO(parts_of(target)["data/sample_inputs/model.pt"]))
    pickle = next(samples.read(name) for name in samples.namelist() if name.endswith("data.pkl"))
    assert GPU in pickle
    assert CPU not in pickle
    expected = torch.export.load(changed(source, moved_program(GPU, CPU))).module()(X)
    got = torch.export.load(changed(target, moved_program(GPU, CPU))).module()(X)
    assert_equal_results(expected, got)


def test_each_parameter_stays_where_its_module_is(tmp_path):
    """Half of the model on each of two devices."""
    source, target = gpu_script(tmp_path), tmp_path / "out.pt"

    def change(name, content):
        if name.endswith("data.pkl"):
            storages = iter(range(100))
            return relocated(content, lambda _: "cuda:0" if next(storages) < 6 else "cuda:1")
        return content

    changed(source, change)
    bnfold.fold_file(source, target, FoldOptions(verify=VerifyOptions(shapes={"x": (2, 3, 6, 6)})))
    with deprecations_silenced():
        module = torch.jit.load(target, map_location="cpu")
    assert {"first.weight", "first.bias", "second.weight", "second.bias"} <= set(module.state_dict())
    assert places_in(parts_of(target)["data.pkl"]) == {
        "first.weight": "cuda:0",
        "first.bias": "cuda:0",
        "second.weight": "cuda:1",
        "second.bias": "cuda:1",
    }


def places_in(pickle):
    from bnfold.frontends.torch_archive.script_devices import storages_in

    return {name: location for name, (_, location) in storages_in(pickle).items()}


def test_a_file_of_the_cpu_is_written_as_torch_writes_it(tmp_path):
    source, target = changed(gpu_script(tmp_path), moved_script(GPU, CPU)), tmp_path / "out.pt"
    bnfold.fold_file(source, target, FoldOptions(verify=VerifyOptions(shapes={"x": (2, 3, 6, 6)})))
    assert parts_of(target)["data.pkl"].count(CPU) == 1


def test_a_new_tensor_lives_beside_the_one_with_the_most_similar_name():
    places = Locations({"a.conv.weight": "cuda:0", "b.conv.weight": "cuda:1", "b.scale": "cpu"})
    assert places.of("a.conv.weight") == "cuda:0"
    assert places.of("a_conv_weight_folded") == "cuda:0"
    assert places.of("b.conv.bias") == "cuda:1"
    assert places.usual in ("cuda:0", "cuda:1")
    assert Locations({}).of("x") == "cpu"


def test_a_text_of_the_model_that_reads_like_a_location_is_left_alone(tmp_path):
    path = tmp_path / "m.pt"
    with deprecations_silenced():
        torch.jit.save(torch.jit.script(Small().eval()), path)
    (pickle,) = (part for name, part in parts_of(path).items() if name == "data.pkl")
    elsewhere = relocated(pickle, lambda key: f"cuda:{key}")
    assert sorted(places_in(elsewhere).values()) == sorted(f"cuda:{place}" for place in range(len(places_in(pickle))))
    assert elsewhere.count(CPU) == 1
    with deprecations_silenced():
        back = changed(path, lambda name, part: elsewhere if name.endswith("data.pkl") else part)
        module = torch.jit.load(back, map_location="cpu")
    assert module.where == "cpu"
    assert set(places_in(relocated(elsewhere, lambda _: "cpu")).values()) == {"cpu"}


def test_a_new_parameter_in_memory_lives_where_its_weight_lives():
    from bnfold.frontends.aten.editor import device_of
    from bnfold.frontends.aten.node import AtenNode, AtenValue
    from bnfold.frontends.aten.operators.table import operator_of

    def node(*tensors):
        values = {f"a{place}": AtenValue(f"a{place}", parameter=tensor) for place, tensor in enumerate(tensors)}
        return AtenNode(operator_of("aten::conv2d"), values, [], "")

    assert device_of(node(torch.zeros(()), torch.zeros(2, device="meta"))) == torch.device("meta")
    assert device_of(node()) == torch.device("cpu")
