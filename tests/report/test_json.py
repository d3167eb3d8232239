import json
from dataclasses import replace

import pytest

from bnfold.label import Label
from bnfold.outcome import Outcome
from bnfold.report.json import render_json, to_dict
from bnfold.report.model import Failure
from bnfold.verification import SKIPPED, DeploymentCheck, OutputCheck, TensorCheck, Verification
from bnfold.version import __version__
from tests.reports import FAILED, FULL, fold, kept, refusal, report


def strict(text):
    """Parse as other languages do: the words NaN and Infinity are no JSON."""

    def refuse(word):
        pytest.fail(f"{word} is not JSON")

    return json.loads(text, parse_constant=refuse)


def rendered(made):
    """The one model of a report, through text."""
    (model,) = strict(render_json([made]))["models"]
    return model


def test_schema_version_2_has_all_its_keys():
    value = rendered(FULL)

    assert value["schema_version"] == 2
    assert value["bnfold"] == __version__
    assert value["read_as_inference"] is False
    assert (value["input"], value["output"], value["format"]) == ("net.onnx", "net.folded.onnx", "onnx")
    assert value["batch_norms"] == {"found": 2, "folded": 1, "kept": 1, "identities": 0, "lowered": 0}
    assert value["affine_nodes"]["found"] == 2
    assert value["affine_nodes"]["folded"] == 1
    assert value["nodes"] == {"before": 910, "after": 668}
    assert value["parameters"] == {"before": 8_062_504, "after": 8_020_000}
    assert value["bytes"] == {"before": 32_600_000, "after": 32_600_000}
    assert value["seconds"] == {"load": 0.2, "plan": 0.1, "apply": 0.001, "verify": 1.0, "save": 0.119, "bench": 0.0}


def test_folds_say_where_each_node_went():
    first, second = to_dict(FULL)["folds"]

    assert first == {
        "node": "bn1",
        "op": "BatchNormalization",
        "tensor": "bn1_out",
        "direction": "upstream",
        "into": ["conv1"],
        "into_ops": ["Conv"],
        "through": ["flatten_3"],
        "through_ops": ["Flatten"],
        "amplification": 1.7,
        "zero_point": 0.0,
        "dead_channels": 0,
        "quantization": None,
        "added_nodes": 0,
        "number": -1,
        "surroundings": None,
    }
    assert second["op"] == "Mul"


def test_paths_carry_the_operators_of_their_nodes():
    path = (Label("247", "BatchNormalization"), Label("246", "MaxPool"), "245")
    (entry,) = to_dict(report(stays=[kept("247", refusal(path=path))]))["kept"]

    assert entry["path"] == ["247", "246", "245"]
    assert entry["path_ops"] == ["BatchNormalization", "MaxPool", ""]


def test_nodes_that_changed_nothing_are_counted_among_the_folded():
    removed = [fold(f"mul{i}", op="Mul", direction="removed", into=()) for i in range(2)]
    value = to_dict(report(folds=[fold("add", op="Add"), *removed]))

    assert value["affine_nodes"] == {"found": 3, "folded": 3, "kept": 0, "identities": 2, "lowered": 0}
    assert [entry["direction"] for entry in value["folds"]] == ["upstream", "removed", "removed"]


def test_kept_batch_norms_carry_the_first_refusal_and_all_of_them():
    (entry,) = to_dict(FULL)["kept"]

    assert entry["node"] == "bn3"
    assert entry["code"] == "BNF104"
    assert entry["reason"] == "needs-non-negative-scale"
    assert entry["path"] == ["bn3", "pool2"]
    assert entry["because"] == "scale < 0 in 3 of 64 channels"
    assert entry["hint"] == "move the BatchNorm before the pooling to fold it"
    assert [(each["code"], each["path"]) for each in entry["refusals"]] == [
        ("BNF104", ["bn3", "pool2"]),
        ("BNF202", ["bn3"]),
    ]


def test_other_affine_nodes_that_stay_have_a_list_of_their_own():
    (entry,) = to_dict(FULL)["kept_affine"]

    assert (entry["node"], entry["op"], entry["code"]) == ("scale", "Mul", "BNF101")


def test_verification_has_the_numbers_of_every_output():
    verification = to_dict(FULL)["verification"]

    assert (verification["status"], verification["samples"], verification["seed"]) == ("passed", 3, 7)
    assert [(each["name"], each["max_abs"], each["max_rel"], each["passed"]) for each in verification["outputs"]] == [
        ("logits", 1.19e-7, 3.4e-6, True),
        ("mask", 0.0, 0.0, True),
    ]


def test_what_is_not_a_number_is_null():
    value = rendered(report(folds=[fold(amplification=float("inf"))], verification=FAILED, output=None))

    assert value["output"] is None
    assert value["folds"][0]["amplification"] is None
    (output,) = value["verification"]["outputs"]
    assert (output["max_abs"], output["max_rel"], output["passed"]) == (None, None, False)
    assert output["problem"] == "shape (1, 3) against (3,)"


def test_noise_and_warnings_of_a_check():
    outputs = (OutputCheck("a", 1e-3, 2e-3, True, noise_floor=4e-3), OutputCheck("b", 0.0, 0.0, True))
    check = Verification("passed", 4, 0, outputs, warnings=("output 'y' never varied",))

    value = rendered(report(verification=check))["verification"]

    assert [each["noise_floor"] for each in value["outputs"]] == [4e-3, None]
    assert value["warnings"] == ["output 'y' never varied"]


def test_every_fold_has_its_check():
    tensors = (
        TensorCheck("bn1_out", frozenset({"conv1_out", "bn1_out"}), 1e-6, 3, True, noise_floor=2e-6, excess=0.25),
        TensorCheck("add", frozenset({"bn2_out", "add"}), 2e-6, None, True, nearer="new"),
        TensorCheck("mul", frozenset({"bn2_out", "mul"}), 0.01, 5, False, problem="channel 5 differs"),
    )
    check = Verification("failed", 4, 0, tensors=tensors)
    folds = [fold("bn1"), fold("bn2"), fold("inside_a_function")]

    first, second, third = rendered(report(folds=folds, verification=check))["verification"]["folds"]

    assert (first["node"], first["tensors"], first["max_rel"], first["channel"]) == ("bn1", ["bn1_out"], 1e-6, 3)
    assert (first["noise_floor"], first["excess"], first["passed"], first["problem"]) == (2e-6, 0.25, True, "")
    assert (second["tensors"], second["passed"], second["channel"]) == (["add", "mul"], False, 5)
    assert (second["excess"], second["problem"]) == (None, "channel 5 differs")
    assert (third["tensors"], third["max_rel"], third["passed"]) == ([], None, True)


def test_the_run_at_default_settings():
    check = Verification("passed", 4, 0, deployment=DeploymentCheck("CPUExecutionProvider", float("nan"), True, "x"))

    deployment = rendered(report(verification=check))["verification"]["deployment"]

    assert deployment == {
        "provider": "CPUExecutionProvider",
        "max_rel": None,
        "passed": True,
        "problem": "x",
        "note": "",
    }
    assert to_dict(report())["verification"]["deployment"] is None


def test_a_check_that_nobody_asked_for_is_skipped():
    assert to_dict(report(verification=SKIPPED))["verification"]["status"] == "skipped"


def test_names_survive_whatever_they_hold():
    name = 'a "b"\n\x1b[31m é \udcff'

    assert rendered(report(folds=[fold(name)]))["folds"][0]["node"] == name


@pytest.mark.parametrize("failures", [[], [Failure("bad.onnx", 3, "is empty")]])
@pytest.mark.parametrize("reports", [[], [FULL], [report(), FULL]])
def test_any_number_of_models_is_one_shape(reports, failures):
    value = strict(render_json(reports, failures))

    assert value.keys() == {"schema_version", "bnfold", "models", "failures"}
    assert (value["schema_version"], value["bnfold"]) == (2, __version__)
    assert value["models"] == [to_dict(each) for each in reports]
    assert value["failures"] == [{"input": "bad.onnx", "exit_code": 3, "message": "is empty"}] * len(failures)


def test_warnings_and_what_matches_nothing():
    value = rendered(replace(report(warnings=("weights.bin stays",)), outcome=Outcome((), (), ("typo*",))))

    assert (value["warnings"], value["unmatched"]) == (["weights.bin stays"], ["typo*"])


def test_what_was_compared_with_is_said():
    assert to_dict(report())["verification"]["reference"] == "the original"
    value = to_dict(report(read_as_inference=True))
    assert value["read_as_inference"] is True
    assert value["verification"]["reference"] == "the original read as an inference model"
