"""The report for code scanning, held to what SARIF 2.1.0 and GitHub ask for."""

import json
from dataclasses import replace

import pytest

from bnfold.label import Label
from bnfold.refusal import Reason
from bnfold.report import sarif
from bnfold.report.model import Failure
from bnfold.report.sarif import render_sarif
from bnfold.report.save import save_report
from bnfold.verification import Verification
from tests.report.test_text import from_both_sides
from tests.reports import fold, kept, refusal, report

LEVELS = {"none", "note", "warning", "error"}
# What the published schema requires of the objects that are written here, and which of their values it lists.
REQUIRED = {
    "log": {"version", "runs"},
    "run": {"tool"},
    "driver": {"name"},
    "rule": {"id"},
    "result": {"message"},
    "invocation": {"executionSuccessful"},
    "notification": {"message"},
    "message": {"text"},
}
KNOWN = {
    "log": {"$schema", "version", "runs"},
    "run": {"tool", "invocations", "results", "columnKind"},
    "driver": {"name", "version", "rules", "informationUri"},
    "rule": {"id", "name", "shortDescription", "fullDescription", "help", "helpUri", "defaultConfiguration"},
    "result": {
        "ruleId", "ruleIndex", "level", "message", "locations", "partialFingerprints", "properties",
    },
    "invocation": {"executionSuccessful", "toolExecutionNotifications"},
    "notification": {"level", "message", "locations"},
    "message": {"text", "markdown"},
}  # fmt: skip


def check(kind, value):
    assert REQUIRED[kind] <= set(value) <= KNOWN[kind], (kind, sorted(value))


def rendered(reports=(), failures=()):
    document = json.loads(render_sarif(reports, failures))
    check("log", document)
    assert document["version"] == "2.1.0"
    (run,) = document["runs"]
    check("run", run)
    check("driver", run["tool"]["driver"])
    for rule in run["tool"]["driver"]["rules"]:
        check("rule", rule)
        assert rule["defaultConfiguration"]["level"] in LEVELS
        for text in ("shortDescription", "fullDescription", "help"):
            check("message", rule[text])
    for invocation in run["invocations"]:
        check("invocation", invocation)
        for notification in invocation["toolExecutionNotifications"]:
            check("notification", notification)
            check_places(notification["locations"])
    for result in run["results"]:
        check("result", result)
        check("message", result["message"])
        assert result["level"] in LEVELS
        assert run["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] == result["ruleId"]
        check_places(result["locations"])
    return run


def check_places(locations):
    for location in locations:
        place = location["physicalLocation"]
        assert place["region"]["startLine"] >= 1, "GitHub shows no place without a line"
        assert " " not in place["artifactLocation"]["uri"]


def test_every_batch_norm_that_stays_is_one_result():
    training = kept("t", refusal(Reason.TRAINING_MODE, "training_mode is 1", ("t",)))
    stays = [from_both_sides("bn1"), from_both_sides("bn2"), training, kept("scale", op="Mul")]
    run = rendered([report([fold()], stays), report([fold()])])

    assert [(result["ruleId"], result["level"]) for result in run["results"]] == [
        ("BNF201", "note"),
        ("BNF201", "note"),
        ("BNF001", "warning"),
    ]
    first = run["results"][0]
    assert first["message"]["text"].startswith(
        "BatchNormalization 'bn1' cannot be folded by any rewrite of this file: "
    )
    assert "'c' is also read by 'x' (Concat) (BNF201)" in first["message"]["text"]
    assert first["properties"]["codes"] == ["BNF201", "BNF103", "BNF103", "BNF110"]
    assert first["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "net.onnx"
    assert first["locations"][0]["logicalLocations"][0]["name"] == "bn1"
    assert [rule["id"] for rule in run["tool"]["driver"]["rules"]] == ["BNF001", "BNF103", "BNF110", "BNF201"]
    assert run["invocations"] == [{"executionSuccessful": True, "toolExecutionNotifications": []}]


def test_fingerprints_tell_nodes_apart_and_stay():
    runs = [rendered([report(stays=[kept("a"), kept("b")])]) for _ in range(2)]
    prints = [[result["partialFingerprints"]["bnfold/v1"] for result in run["results"]] for run in runs]

    assert prints[0] == prints[1]
    assert len(set(prints[0])) == 2


def test_models_that_failed_are_told():
    failed = report(output=None, verification=Verification("failed", 1, 0, problem="output 'y' differs"))
    run = rendered([failed], [Failure("b.onnx", 3, "is empty")])

    (invocation,) = run["invocations"]
    assert invocation["executionSuccessful"] is False
    texts = [entry["message"]["text"] for entry in invocation["toolExecutionNotifications"]]
    assert texts == ["output 'y' differs", "is empty"]


def test_names_may_hold_anything():
    bad = "a b\n\udcff%é#?.onnx"
    stays = [kept(bad, refusal(evidence=bad, path=(bad, Label(bad, bad))))]
    (result,) = rendered([report(stays=stays, input=bad.replace("\udcff", ""))])["results"]

    assert result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "a%20b%0A%25%C3%A9%23%3F.onnx"
    assert bad in result["message"]["text"]


def test_where_the_documentation_is_known_rules_link_to_it(monkeypatch):
    class Metadata:
        def get_all(self, _):
            return ["Source, https://code.example", "Documentation, https://docs.example/bnfold"]

    monkeypatch.setattr(sarif, "metadata", lambda _: Metadata())
    sarif._documentation.cache_clear()
    try:
        driver = rendered([report(stays=[kept()])])["tool"]["driver"]
    finally:
        sarif._documentation.cache_clear()

    assert driver["informationUri"] == "https://docs.example/bnfold/"
    assert driver["rules"][0]["helpUri"] == "https://docs.example/bnfold/refusals/#bnf104"


def test_the_ending_of_a_file_chooses_it(tmp_path):
    made = report(stays=[kept()])
    save_report(tmp_path / "r.sarif", [made, replace(made, input="other.onnx")])

    assert len(json.loads((tmp_path / "r.sarif").read_text())["runs"][0]["results"]) == 2


def test_an_empty_call_is_a_log_as_well():
    assert rendered()["results"] == []


@pytest.mark.parametrize("path", ["models/a.onnx", "/abs/a.onnx", "../a.onnx"])
def test_paths_stay_relative_or_absolute(path):
    (result,) = rendered([report(stays=[kept()], input=path)])["results"]

    assert result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == path
