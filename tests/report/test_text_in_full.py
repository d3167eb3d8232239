"""The report for people who ask for all of it: every node by name, with every reason and figure."""

import re

from bnfold.label import Label
from bnfold.refusal import Reason
from bnfold.report.text import render_text
from bnfold.verification import OutputCheck, TensorCheck, Verification
from tests.report.test_text import MEASURED, from_both_sides
from tests.reports import fold, kept, refusal, report


def lines_of(made, **options):
    return render_text(made, verbose=True, **options).removesuffix("\n").split("\n")


def block(lines, first, last):
    start = lines.index(first)
    return lines[start : lines.index(last, start) + 1]


def test_every_fold_is_named_behind_the_answer():
    made = report(folds=[fold(f"bn{i}", into=(f"conv{i}",)) for i in range(121)], verification=MEASURED)

    lines = lines_of(made)

    assert all(f"    bn{i} -> conv{i}" in lines for i in range(121))
    assert lines.index("Folded") > next(index for index, line in enumerate(lines) if "Same results" in line)


def test_folds_are_grouped_by_operator_and_direction():
    made = report(
        folds=[
            *(fold(f"mul{i}", op="Mul", into=("bn",), direction="downstream", through=("t",)) for i in range(2)),
            *(fold(f"bn{i}", into=(f"conv{i}",)) for i in range(3)),
            fold("one", op="Mul", direction="removed", into=()),
        ]
    )

    assert block(lines_of(made), "Folded", "    one") == [
        "Folded",
        "  3 BatchNormalization into the operator before",
        "    bn0 -> conv0",
        "    bn1 -> conv1",
        "    bn2 -> conv2",
        "  2 Mul into the operators behind",
        "    mul0 -> bn through t",
        "    mul1 -> bn through t",
        "  1 Mul removed, as it changes nothing",
        "    one",
    ]


def test_nodes_of_which_the_name_says_nothing_are_shown_with_their_operators():
    named = fold("bn1", into=(Label("conv1", "Conv"),), through=(Label("layer1.Relu_3", "Relu"),))
    nameless = fold(
        Label("247", "BatchNormalization"),
        into=(Label("245", "Conv"), Label("x", "aten::linear")),
        through=(Label("246", "MaxPool"),),
    )

    lines = lines_of(report(folds=[named, nameless]))

    assert "    bn1 -> conv1 through layer1.Relu_3" in lines
    assert "    BatchNormalization 247 -> Conv 245, linear x through MaxPool 246" in lines


def test_a_long_name_and_where_it_went_are_two_lines_and_stay_whole():
    name = "/features/denseblock1/denselayer1/norm1/BatchNormalization"
    target = "/features/denseblock1/denselayer1/conv1/Conv"

    lines = lines_of(report(folds=[fold(name, into=(target,))]))
    assert lines[lines.index(f"    {name}") + 1] == f"      -> {target}"
    assert f"    {name} -> {target}" in lines_of(report(folds=[fold(name, into=(target,))]), width=120)


def test_a_plan_says_what_would_be_folded():
    lines = lines_of(report(folds=[fold()], planned=True))

    assert "Would be folded" in lines
    assert "Folded" not in lines


def test_every_node_that_stays_has_every_reason():
    lines = lines_of(report(stays=[from_both_sides("bn7"), from_both_sides("bn8")]))

    assert block(lines, "Stays", "      across  -> conv: 1 of 4 scales is 0 (BNF110)") == [
        "Stays",
        "  BNF201 other-consumers: 2 BatchNorms",
        "  another node reads the tensor that would change",
        "    bn7",
        "      before  <- conv: 'c' is also read by 'x' (Concat) (BNF201)",
        "      behind  -> Relu act: it bends at zero (BNF103)",
        "      both    -> Relu act: half of it (BNF103)",
        "      across  -> conv: 1 of 4 scales is 0 (BNF110)",
    ]


def test_hints_and_other_affine_nodes_are_there():
    stays = [kept("a", refusal(Reason.OTHER_CONSUMERS, "also read by 'x'", hint="look at x"), op="Add")]
    stays += [kept(Label("m2", "Mul"), refusal(Reason.NOT_LINEAR, "Softmax"), op="Mul")]

    lines = lines_of(report(stays=stays))

    assert "  BNF101 not-linear: 1 other affine node" in lines
    assert "    Mul m2" in lines
    assert "      note    look at x" in lines


def test_the_check_has_its_figures():
    lines = lines_of(report(verification=MEASURED), width=120)

    assert block(lines, "Check of 6 inputs, seed 0", "  b              0         0          -") == [
        "Check of 6 inputs, seed 0",
        "  output   max abs   max rel  own noise",
        "  a       1.00e-03  4.10e-07   1.90e-07  2.2x",
        "  b              0         0          -",
    ]
    assert "  2 of 2 changed tensors equal inside the graph" in lines
    worst = "  worst: n1, channel 3: 1.00e-06 of its scale; run by itself, at 25 % of what rounding allows"
    assert worst in lines
    assert "  at default settings (CPUExecutionProvider): max rel 2.00e-07" in lines


def test_a_place_that_is_wrong_is_named_with_what_is_wrong():
    tensors = (TensorCheck("n1", frozenset(), 0.01, 3, False, problem="channel 3 differs: 1 against 2"),)
    verification = Verification("failed", 4, 0, (), tensors, problem="tensor 'n1': channel 3 differs: 1 against 2")

    assert "  worst: n1: channel 3 differs: 1 against 2" in lines_of(report(verification=verification))


def test_what_is_wrong_with_an_output_stands_below_the_figures_on_a_narrow_terminal_too():
    problem = "max |a - b| is 0.00441, 0.00057 of max |a|; tolerated is 7.72e-05"
    wrong = OutputCheck("logits", 0.526, 5.71e-4, False, problem, 4.32e-7)
    lines = lines_of(report(verification=Verification("failed", 6, 0, (wrong,)), output=None), width=50)

    start = lines.index("  logits  5.26e-01  5.71e-04   4.32e-07  1.3e+03x")
    assert " ".join(line.strip() for line in lines[start + 1 : start + 3]) == f"logits: {problem}"


def test_outputs_without_noise_have_no_column_for_it():
    lines = lines_of(report(verification=Verification("passed", 3, 7, (OutputCheck("y", 1.0, 2.0, True),))))

    assert "  output   max abs   max rel" in lines


def test_the_time_is_told_stage_by_stage():
    assert lines_of(report())[-1] == "Wrote net.folded.onnx in 1.42 s (load 0.20, plan 0.10, verify 1.00, save 0.12)"


def test_parameters_are_counted():
    assert "  parameters    8,062,504 -> 8,020,000" in lines_of(report())


def test_no_line_ends_in_blanks_in_colour_either():
    text = render_text(report(verification=MEASURED), width=50, verbose=True, color=True)

    assert "own noise" in text
    assert not [line for line in re.sub(r"\x1b\[[0-9;]*m", "", text).split("\n") if line.endswith(" ")]
