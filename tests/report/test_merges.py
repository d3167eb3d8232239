"""What the reports for people say of branches, and of weights in int8."""

import math
from dataclasses import replace

from bnfold.int8 import WeightRange
from bnfold.report.html import render_html
from bnfold.report.quantization import Remedy, suffering
from bnfold.report.text import render_text
from tests.reports import QUANTIZATION, apart, fold, merge, report


def test_merges_are_one_line_and_listed_where_somebody_asks():
    many = report(merges=[merge(f"add{index}") for index in range(7)])
    assert "  Merged        21 parallel branches into 7 operators\n" in render_text(many)
    assert "add0_out" not in render_text(many)
    text = render_text(many, width=120, verbose=True)
    assert "Merged  21 operators -> 7\n" in text
    for index in range(7):
        assert f"  add{index}_out: 3 branches -> conv_3x3, 1,024 multiply-adds a place, not 1,152\n" in text


def test_rows_of_operators_are_no_branches():
    text = render_text(report(merges=[merge(branches=1), merge()]), width=120, verbose=True)
    assert "  Merged        3 parallel branches into 1 operator, 1 row of operators into one each\n" in text
    assert "add_out: 3 operators in a row -> conv_3x3" in text


def test_branches_that_stay_apart_say_why_where_somebody_asks():
    text = render_text(report(branches=[apart()]), width=120, verbose=True)
    assert "Branches that stay apart\n  BNF108 add_2: branches differ in stride: 1 and 2\n" in text
    assert "apart" not in render_text(report(branches=[apart()]))


def test_weights_that_int8_does_not_suit_are_named():
    text = render_text(report(merges=[merge()]), width=120)
    assert "  In int8       1 weight suits int8 worse than before\n" in text
    assert "    conv_3x3: signal to noise 38 -> 28 dB, 34 dB with a scale for each channel\n" in text
    assert "    if you quantise: a scale for each channel, or equalise it with the layer behind first\n" in text


def test_channels_that_round_to_zero_are_named_and_what_a_scale_for_each_does_not_help():
    after = replace(QUANTIZATION.after, vanishing=1, per_channel=15.0)
    text = render_text(report(merges=[merge(quantization=replace(QUANTIZATION, after=after))]), width=140)
    assert "15 dB with a scale for each channel; channels that round to 0: 0 -> 1 of 2\n" in text
    assert (
        "if you quantise: exclude add from folding, or keep it in float; a scale for each channel is not enough" in text
    )


def test_of_several_weights_the_worst_is_named_and_all_where_somebody_asks():
    worse = replace(QUANTIZATION, after=replace(QUANTIZATION.after, per_tensor=9.0))
    weights = replace(QUANTIZATION, weight="conv_a"), replace(worse, weight="conv_b")
    made = report(merges=[merge(each.weight, each.weight, quantization=each) for each in weights])
    assert "2 weights suit int8 worse than before, the worst is\n" in render_text(made, width=120)
    assert "conv_b: signal to noise 38 -> 9 dB" in render_text(made, width=120)
    assert "conv_a" not in render_text(made)
    assert "conv_a" in render_text(made, verbose=True)


def test_weights_that_int8_suits_as_before_are_not():
    fine = replace(QUANTIZATION, after=replace(QUANTIZATION.after, per_tensor=36.0))
    zeros = replace(QUANTIZATION, after=WeightRange((0.0, 0.0), 0, math.nan, math.nan))
    for quantization in (fine, zeros):
        assert suffering([], [merge(quantization=quantization)]) == []
    assert "In int8" not in render_text(report(merges=[merge(quantization=fine)]))


def test_of_several_changes_of_a_weight_the_last_counts():
    folds = [replace(fold(into=("conv_3x3",)), quantization=QUANTIZATION)]
    assert len(suffering(folds, [])) == 1
    fine = replace(QUANTIZATION, after=QUANTIZATION.before)
    assert suffering(folds, [merge(quantization=fine)]) == []


def test_channels_that_round_to_zero_are_told_though_the_ratio_is_fine():
    """The ratio of a whole tensor is that of its large channels."""
    many = WeightRange((0.001,) * 6 + (1.0,) * 94, 6, 36.0, 40.0)
    for vanishing, told in ((6, 1), (5, 0)):
        after = replace(many, vanishing=vanishing)
        assert len(suffering([], [merge(quantization=replace(QUANTIZATION, after=after))])) == told


def test_what_helps_depends_on_where_numbers_differ():
    between = replace(QUANTIZATION, after=replace(QUANTIZATION.after, per_tensor=12.0, per_channel=43.0))
    within = replace(QUANTIZATION, after=replace(QUANTIZATION.after, per_tensor=12.0, per_channel=14.0))
    remedies = [suffering([], [merge(quantization=each)])[0].remedy for each in (between, within)]
    assert remedies == [Remedy.PER_CHANNEL, Remedy.APART]


def test_html_has_the_same():
    page = render_html([report(merges=[merge("<add>")], branches=[apart()])])
    assert "&lt;add&gt;_out" in page
    assert "branches differ in stride: 1 and 2" in page
    assert "Weights that suit int8 worse than before" in page
    assert "0 \u2192 0 of 2" in page
    assert "if you quantise: a scale for each channel" in page
