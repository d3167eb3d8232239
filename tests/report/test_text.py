"""The report for people in short: the answer first, and what stays with a verdict."""

import math
import re
from dataclasses import replace
from pathlib import Path

import pytest

from bnfold.cli.spelling import as_option
from bnfold.keywords import spelled
from bnfold.label import Label
from bnfold.refusal import Reason
from bnfold.report.model import Change, Environment
from bnfold.report.text import render_text
from bnfold.verification import SKIPPED, DeploymentCheck, OutputCheck, TensorCheck, Verification
from tests.reports import FAILED, fold, kept, refusal, report

ROOT = Path(__file__).parents[2]

MEASURED = Verification(
    "passed",
    6,
    0,
    (OutputCheck("a", 1e-3, 4.1e-7, True, noise_floor=1.9e-7), OutputCheck("b", 0.0, 0.0, True)),
    (
        TensorCheck("n1", frozenset({"c1", "n1"}), 1e-6, 3, True, noise_floor=2e-6, excess=0.25),
        TensorCheck("n2", frozenset({"c2", "n2"}), 5e-6, None, True, excess=0.125),
    ),
    DeploymentCheck("CPUExecutionProvider", 2e-7, True),
)


def lines_of(made, **options):
    text = render_text(made, **options)
    assert text.endswith("\n")
    assert not text.endswith("\n\n")
    return text.removesuffix("\n").split("\n")


def joined(made, **options):
    """All that is said, wherever lines are wrapped."""
    return " ".join(" ".join(lines_of(made, **options)).split())


def test_the_answer_is_on_top_and_calm():
    made = report(
        folds=[fold(f"bn{index}") for index in range(59)],
        stays=[kept(f"bn{index}") for index in range(59, 121)],
        nodes=Change(431, 372),
        bytes=Change(32_400_000, 32_300_000),
        verification=MEASURED,
    )

    assert lines_of(made) == [
        "net.onnx  onnx",
        "",
        "  BatchNorms     121 -> 62       59 folded, 62 left",
        "  nodes          431 -> 372",
        "  file          32.4 -> 32.3 MB",
        "",
        "  Same results  yes  6 inputs; largest difference 4.1e-07 (rounding: 1.9e-07)",
        "                     2 changes checked one by one, all within rounding",
        "                     equal with onnxruntime's optimisations on (CPU), too",
        "",
        "  Left  62 cannot be folded by any rewrite of this file",
        "    62  itself   a negative scale cannot pass the operator (BNF104)",
        "        such as  bn59 and 61 more (verbose=True)",
        "",
        "Wrote net.folded.onnx in 1.4 s",
    ]


@pytest.mark.parametrize(
    ("opsets", "told"),
    [
        ((("", 17), ("com.microsoft", 1)), "net.onnx  onnx, opset 17"),
        ((("com.microsoft", 1), ("ai.onnx", 9)), "net.onnx  onnx, opset 9"),
        ((), "net.onnx  onnx"),
    ],
)
def test_the_opset_of_a_model_is_told(opsets, told):
    assert lines_of(report(environment=Environment((), (), opsets)))[0] == told


def test_a_model_without_batch_norms_says_so():
    lines = lines_of(report())

    assert lines[2] == "  BatchNorms    none"
    assert not any("Left" in line for line in lines)


def test_nodes_that_change_nothing_are_removed_identities():
    removed = [fold(f"mul{i}", op="Mul", direction="removed", into=()) for i in range(2)]

    folded = joined(report(folds=[fold(), fold("add", op="Add"), *removed], stays=[kept("div", op="Mul")]))
    assert "Mul, Add 4 -> 1 1 folded, 2 identities removed, 1 left" in folded
    assert "Mul 1 -> 0 1 identity removed nodes" in joined(report(folds=removed[:1]))


@pytest.mark.parametrize(
    ("operators", "label"),
    [
        (["Mul"], "Mul"),
        (["aten::mul", "aten::mul", "aten::add"], "mul, add"),
        (["Sub", "Div", "Div", "Sub", "Mul"], "Sub, Div ..."),
        (["SomethingLong", "Other"], "others"),
    ],
)
def test_other_affine_nodes_are_called_by_their_operators(operators, label):
    made = report(folds=[fold(f"n{index}", op=op) for index, op in enumerate(operators)])

    assert f"{label} {len(operators)} -> 0 {len(operators)} folded" in joined(made)


def test_a_plan_never_says_folded_and_claims_no_size():
    removed = fold("mul", op="Mul", direction="removed", into=())
    made = report(folds=[fold(), removed], stays=[kept()], planned=True, output=None, verification=SKIPPED)

    for verbose in (False, True):
        said = joined(made, verbose=verbose)
        assert "BatchNorms 2 -> 1 would fold 1, leave 1" in said
        assert "Mul 1 -> 0 would remove 1 identity" in said
        assert " file " not in said.replace("of this file", "")
        assert "Same results" not in said
        assert "This is a plan, nothing was written" in said
        assert "Folded" not in said
        assert "1 folded" not in said


def test_sizes_have_the_unit_that_suits_them():
    for sizes, said in [
        ((999, 1), "file 999 -> 1 bytes"),
        ((74_606, 72_185), "file 74.6 -> 72.2 kB"),
        ((999_999, 1_000_000), "file 1.0 -> 1.0 MB"),
        ((2_500_000_000, 2_400_000_000), "file 2.5 -> 2.4 GB"),
    ]:
        assert said in joined(report(bytes=Change(*sizes)))


@pytest.mark.parametrize(
    ("status", "answer"),
    [
        ("passed", "Same results yes 4 inputs"),
        ("partial", "Same results yes, in parts 4 inputs"),
        ("failed", "Same results NO"),
        ("unchecked", "Same results not known"),
        ("skipped", "Same results not checked"),
    ],
)
def test_every_verdict_is_an_answer(status, answer):
    outputs = (OutputCheck("a", 1e-3, 2e-3, status != "failed"),)

    assert answer in joined(report(verification=Verification(status, 4, 0, outputs)))


def test_results_that_are_the_same_to_the_last_bit_are_called_so():
    exact = Verification("passed", 4, 0, (OutputCheck("a", 0.0, 0.0, True, noise_floor=1e-7),))

    assert "yes 4 inputs; every output is the same to the last bit" in joined(report(verification=exact))


def test_an_output_that_was_not_measured_is_no_difference():
    odd = replace(MEASURED, outputs=(OutputCheck("a", math.nan, math.nan, True), *MEASURED.outputs))

    assert "largest difference 4.1e-07 (rounding: 1.9e-07)" in joined(report(verification=odd))


def test_how_many_changes_were_checked_one_by_one_is_not_rounded_up():
    some = replace(MEASURED, tensors=(MEASURED.tensors[0], replace(MEASURED.tensors[1], excess=math.nan)))
    none = replace(MEASURED, tensors=(replace(MEASURED.tensors[1], excess=math.nan),))

    assert "1 of 2 changes checked one by one" in joined(report(verification=some))
    assert "1 change compared inside the model" in joined(report(verification=none))
    assert "one by one" not in joined(report(verification=none))


def test_a_model_that_did_not_change_was_not_compared():
    same = Verification("passed", 0, 0, identical=True)

    assert "Same results yes the model is unchanged, there was nothing to compare" in joined(report(verification=same))


def test_weak_evidence_is_yellow_and_its_warnings_are_told_once():
    weak = replace(MEASURED, warnings=("output 'y' never varied",))
    made = report(verification=weak, warnings=("w.bin stays",))

    coloured = render_text(made, color=True)
    assert "\x1b[33myes, with 1 warning" in coloured
    assert "\x1b[33mwarning: \x1b[0moutput 'y' never varied" in coloured
    assert "warning: w.bin stays" in render_text(made)
    assert "warning:" not in render_text(made, warnings=False)


def test_a_failed_check_shows_what_is_wrong_and_that_nothing_was_written():
    lines = lines_of(report(folds=[fold()], verification=FAILED, output=None))

    assert lines[2] == "  BatchNorms       1 -> 0        would fold 1"
    assert "  Same results  NO  output 'logits': shape (1, 3) against (3,)" in lines
    assert lines[-2] == "Nothing was written: the check failed (1.4 s)"
    assert lines[-1] == "on_mismatch='revert' keeps what passes; save_repro='DIR' saves what differs"


def test_what_was_asked_for_already_is_not_proposed():
    asked = Environment((), (("on_mismatch", "revert"), ("save_repro", "repro")), ())
    lines = lines_of(report(folds=[fold()], verification=FAILED, output=None, environment=asked))

    assert lines[-1] == "Nothing was written: the check failed (1.4 s)"


def test_many_wrong_outputs_are_counted():
    outputs = tuple(OutputCheck(f"o{index}", 1.0, 1.0, False) for index in range(5))
    said = joined(report(verification=Verification("failed", 3, 7, outputs), output=None))

    assert "NO output 'o0': beyond the tolerance output 'o1': beyond the tolerance" in said
    assert "and 2 more outputs" in said


def test_a_problem_of_the_whole_check_is_shown_once():
    broken = Verification("failed", 0, 7, problem="the folded model does not run")

    assert joined(report(verification=broken, output=None)).count("the folded model does not run") == 1


def test_a_comparison_with_the_original_read_as_inference_is_called_that():
    said = "compared with the original read as an inference model, as assume_inference=True asks"
    assert said in joined(report(read_as_inference=True))
    assert said not in joined(report())


def test_initializers_that_callers_may_replace_are_a_note():
    assert "Note 3 initializers are graph inputs as well" in joined(report(overridable_initializers=3))


def test_folds_across_tensors_are_one_line():
    across = [fold(f"bn{index}", direction="across") for index in range(3)]

    assert "Across 3 folds cross tensors that others read; those take the inverse" in joined(report(folds=across))
    assert "Across 1 fold crosses tensors" in joined(report(folds=across[:1]))
    assert "Across" not in joined(report(folds=[fold()]))


def from_both_sides(name, behind="Relu", across=True):
    """A BatchNorm that stays as those of a DenseNet do."""
    before, after = (name, Label("conv", "Conv")), (name, Label("act", behind))
    ways = [
        refusal(Reason.OTHER_CONSUMERS, "'c' is also read by 'x' (Concat)", before).going("upstream"),
        refusal(Reason.SHIFT_CANNOT_PASS, "it bends at zero", after).going("downstream"),
        refusal(Reason.SHIFT_CANNOT_PASS, "half of it", after).going("both"),
        refusal(Reason.ZERO_SCALE, "1 of 4 scales is 0", before).going("across"),
    ]
    return kept(name, *(ways if across else ways[:3]))


def test_what_stays_is_grouped_by_what_stands_in_its_way_from_both_sides():
    stays = [from_both_sides(f"bn{index}") for index in range(3)]
    stays += [from_both_sides("other", behind="Sigmoid", across=False)]

    lines = lines_of(report(stays=stays))

    start = lines.index("  Left  4 cannot be folded by any rewrite of this file")
    assert lines[start + 1 : start + 8] == [
        "    3  before   others read what Conv makes (BNF201)",
        "       behind   a shift cannot pass Relu (BNF103)",
        "       across   others cannot undo it: a scale is 0, and has no inverse (BNF110)",
        "       such as  bn0 and 2 more (verbose=True)",
        "    1  before   others read what Conv makes (BNF201)",
        "       behind   a shift cannot pass Sigmoid (BNF103)",
        "       it is    other",
    ]


def test_the_only_one_that_stays_has_its_evidence():
    said = joined(report(stays=[from_both_sides("bn7", across=False)]))

    assert "before 'c' is also read by 'x' (Concat) (BNF201) behind it bends at zero (BNF103) it is bn7" in said


def test_whoever_sees_all_names_is_not_told_how_to_see_them():
    stays = [from_both_sides(f"bn{index}") for index in range(3)]

    assert "bn0 and 2 more (verbose=True)" in render_text(report(stays=stays))
    assert "(verbose=True)" not in render_text(report(stays=stays), verbose=True)


def test_a_verdict_that_a_person_can_act_on_comes_first_in_yellow():
    training = refusal(Reason.TRAINING_MODE, "training_mode is 1", ("t",), hint="if meant, say so")
    stays = [kept("bn0"), kept("bn1"), kept("t", training)]

    lines = lines_of(report(stays=stays), width=120)
    first = "  Left  1 can be folded if you export after model.eval(), or give assume_inference=True"
    assert lines.index(first) < lines.index("  Left  2 cannot be folded by any rewrite of this file")
    assert "if meant, say so" not in joined(report(stays=stays)), "the verdict says it"
    assert "\x1b[33mcan be folded if you" in render_text(report(stays=stays), width=120, color=True)


def test_what_a_frontend_knows_of_this_very_node_is_a_note():
    shape = refusal(Reason.UNKNOWN_SHAPE, "the rank is not known", ("bn",), hint="'x' has no shape: give it one")

    assert "note 'x' has no shape: give it one" in joined(report(stays=[kept("bn", shape)]))


def test_a_long_verdict_goes_on_below_itself():
    training = refusal(Reason.TRAINING_MODE, "training_mode is 1", ("t",))

    lines = lines_of(report(stays=[kept("t", training)]), width=50)
    start = next(index for index, line in enumerate(lines) if "Left" in line)
    assert lines[start : start + 3] == [
        "  Left  1 can be folded if you export after",
        "          model.eval(), or give",
        "          assume_inference=True",
    ]


def test_one_way_that_a_person_can_open_is_enough():
    closed = refusal(Reason.OTHER_CONSUMERS, "also read", ("bn", "conv")).going("upstream")
    behind = refusal(Reason.DYNAMIC_WEIGHT, "'w' is an input", ("bn", "gemm")).going("downstream")

    assert "1 can be folded if you export the weight as a constant" in joined(
        report(stays=[kept("bn", closed, behind)])
    )


def test_only_an_output_that_others_read_as_well_may_be_one_too_many():
    only = refusal(Reason.GRAPH_OUTPUT, "'y' is an output", ("bn",)).going("downstream")
    more = replace(only, hint="if nobody needs that output, take it off")

    assert "1 cannot be folded by any rewrite" in joined(report(stays=[kept("bn", only)]))
    assert "1 can be folded if you drop that output" in joined(report(stays=[kept("bn", more)]))


def test_what_would_only_cost_is_not_called_impossible():
    closed = refusal(Reason.OTHER_CONSUMERS, "also read", ("bn", "conv")).going("upstream")
    behind = refusal(Reason.NO_BIAS, "MatMul has no bias", ("bn", "mm")).going("downstream")

    assert "1 folding it would cost as much as it saves" in joined(report(stays=[kept("bn", closed, behind)]))


def test_many_groups_are_cut_short_where_nobody_asks_for_all():
    stays = [from_both_sides(f"bn{index}", behind=f"Op{index}") for index in range(9)]

    assert "and 4 others in 4 groups (verbose=True)" in joined(report(stays=stays))
    assert "Op8" in joined(report(stays=stays), verbose=True)


def test_other_affine_nodes_that_stay_are_only_counted():
    stays = [kept(f"m{i}", refusal(Reason.NOT_LINEAR, "Softmax"), op="Mul") for i in range(3)]

    assert "Left" not in joined(report(stays=stays))
    assert "Mul 3 -> 3 0 folded, 3 left" in joined(report(stays=stays))


@pytest.mark.parametrize("width", [40, 50, 80, 120, 200])
@pytest.mark.parametrize("verbose", [False, True])
def test_lines_keep_to_the_width_and_lose_nothing(width, verbose):
    name = "layer/" * 30 + "end"
    long = [refusal(path=("bn", name), evidence="word " * 40 + "last")]
    warned = replace(MEASURED, warnings=("a warning " * 20 + "told",))
    made = report(folds=[fold(name)], stays=[kept(name, *long)], input=name, output=name, verification=warned)

    lines = lines_of(made, width=width, verbose=verbose)

    assert max(map(len, lines)) <= width
    said = "".join(line.strip() for line in lines)
    assert said.count(name) >= 3
    assert "last" in said
    assert "told" in said


def test_colour_only_where_asked_for():
    made = report(folds=[fold()], stays=[kept()])

    assert "\x1b[" not in render_text(made)
    assert "\x1b[1;32myes\x1b[0m" in render_text(made, color=True)


@pytest.mark.parametrize("verbose", [False, True])
def test_names_are_neither_markup_nor_terminal_commands(verbose):
    bad = "[red]x[/red] :smile: \x1b[2J\nq"
    wrong = Verification("failed", 3, 7, (OutputCheck(bad, 1.0, 1.0, False, bad),), problem=bad, warnings=(bad,))
    stays = [kept(bad, refusal(evidence=bad, path=(bad, Label(bad, bad)), hint=bad).going("upstream"))] * 2
    made = report(folds=[fold(bad, op=bad, into=(Label(bad, bad),))], stays=stays, input=bad, output=bad)

    for each in (made, replace(made, verification=wrong, output=None)):
        text = render_text(each, color=True, verbose=verbose, width=200)
        assert r"[red]x[/red] :smile: \x1b[2J\nq" in text
        assert "\x1b[2J" not in text


@pytest.mark.parametrize("page", ["README.md", "docs/reading_refusals.md"])
def test_pages_show_what_stays_as_it_is_printed(page):
    shown = re.search(r"^  Left  17 .*?(?=^```)", (ROOT / page).read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    concat, relu = Label("concat", "Concat"), Label("act", "Relu")
    name = "/features/conv2_3/c1x1_a/bn/BatchNormalization"
    ways = [
        refusal(Reason.OTHER_CONSUMERS, "read by x", (name, concat)).going("upstream"),
        refusal(Reason.SHIFT_CANNOT_PASS, "it bends", (name, relu)).going("downstream"),
        refusal(Reason.SHIFT_CANNOT_PASS, "it bends", (name, relu)).going("across"),
    ]
    stays = [replace(kept(name, *ways), would_do="Add")] * 14 + [from_both_sides(f"bn{index}") for index in range(3)]

    with spelled(as_option):
        text = render_text(report(stays=stays))
    assert shown is not None
    assert shown[0] in text


def test_what_stays_is_one_line_at_a_prompt():
    assert repr(from_both_sides("bn7", across=False)) == (
        "<Kept BatchNormalization 'bn7': <BNF201 other-consumers, upstream: 'c' is also read by 'x' (Concat)>, "
        "<BNF103 shift-cannot-pass, downstream: it bends at zero>, <BNF103 shift-cannot-pass, both: half of it>>"
    )
