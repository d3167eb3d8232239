"""The schema in the package describes every report: all that is written, and nothing that is not."""

import json
from dataclasses import replace
from importlib.resources import files

import pytest
from jsonschema import Draft202012Validator, ValidationError

from bnfold.report.json import render_json
from bnfold.report.model import Failure
from bnfold.verification import SKIPPED, DeploymentCheck, OutputCheck, TensorCheck, Verification
from tests.reports import FAILED, FULL, LATENCIES, QUANTIZATION, apart, fold, merge, report

SCHEMA = json.loads(files("bnfold.report").joinpath("schema.json").read_text(encoding="utf-8"))
CHECKED = Verification(
    "passed",
    4,
    0,
    (OutputCheck("y", 1e-3, float("nan"), True, noise_floor=4e-3),),
    (TensorCheck("bn1_out", frozenset({"bn1_out"}), 1e-6, 3, True, noise_floor=2e-6, excess=0.25, nearer="new"),),
    DeploymentCheck("CPUExecutionProvider", float("inf"), True),
    warnings=("output 'y' never varied",),
)
CASES = {
    "nothing": ([], []),
    "one that failed": ([], [Failure("bad.onnx", 3, "is empty")]),
    "one": ([FULL], []),
    "several": ([report(), FULL], [Failure("bad.onnx", 3, "is empty"), Failure("x.pt", 70, "a bug")]),
    "a failed check": ([report([fold()], verification=FAILED, output=None)], []),
    "branches": ([report([replace(fold(), quantization=QUANTIZATION)], merges=[merge()], branches=[apart()])], []),
    "latency": ([report([fold()], latencies=LATENCIES)], []),
    "no check": ([report([fold(amplification=float("inf"))], verification=SKIPPED)], []),
    "all of a check": ([report([fold(), fold("inside")], verification=CHECKED, warnings=("w.bin stays",))], []),
    "not checked": ([report(verification=Verification("unchecked", 0, 0, problem="no memory"), output=None)], []),
}


def validator(schema):
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def closed(schema):
    """The same schema, under which an object has no key that is not described."""
    if isinstance(schema, list):
        return [closed(entry) for entry in schema]
    if not isinstance(schema, dict):
        return schema
    changed = {key: closed(value) for key, value in schema.items()}
    return (
        {**changed, "unevaluatedProperties": False} if schema.get("type") == "object" or "allOf" in schema else changed
    )


def without_closing(schema, name):
    """Refusals are parts of what is kept, and so open to more keys there."""
    opened = closed(schema)
    opened["$defs"][name].pop("unevaluatedProperties")
    return opened


@pytest.mark.parametrize("case", CASES)
def test_every_report_is_as_described_and_all_of_it_is_described(case):
    validator(SCHEMA).validate(json.loads(render_json(*CASES[case])))
    validator(without_closing(SCHEMA, "refusal")).validate(json.loads(render_json(*CASES[case])))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda value: value.pop("models"),
        lambda value: value.pop("failures"),
        lambda value: value.update(schema_version=1),
        lambda value: value["models"][0].pop("verification"),
        lambda value: value["models"][0].update(format="pickle"),
        lambda value: value["models"][0]["kept"][0].pop("node"),
        lambda value: value["models"][0]["kept"][0].pop("because"),
        lambda value: value["models"][0]["kept"][0]["refusals"][0].update(code=104),
        lambda value: value["models"][0]["folds"][0].update(direction="sideways"),
        lambda value: value["models"][0]["folds"][0].update(amplification="1.7"),
        lambda value: value["models"][0]["verification"]["outputs"][0].pop("max_rel"),
        lambda value: value["models"][0]["verification"].update(deployment={}),
        lambda value: value["failures"].append({"input": "m.onnx"}),
    ],
)
def test_the_schema_refuses_what_is_no_report(spoil):
    value = json.loads(render_json([FULL]))
    spoil(value)
    with pytest.raises(ValidationError):
        validator(SCHEMA).validate(value)
