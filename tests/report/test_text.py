from bnfold.label import Label
from bnfold.refusal import Reason
from bnfold.report.text import render_text
from bnfold.verification import SKIPPED, DeploymentCheck, OutputCheck, TensorCheck, Verification
from tests.reports import FAILED, fold, kept, refusal, report


def lines_of(made, **options):
    text = render_text(made, **options)
    assert text.endswith("\n")
    assert not text.endswith("\n\n")
    return text.removesuffix("\n").split("\n")


def block(lines, first, last):
    start = lines.index(first)
    return lines[start : lines.index(last, start) + 1]


def test_the_headline_counts_what_was_found():
    made = report(folds=[fold("a"), fold("b"), fold("m", op="Mul")], stays=[kept("c")])

    assert lines_of(made)[:3] == [
        "net.onnx",
        "2 of 3 BatchNorms folded, 1 stays",
        "1 of 1 other affine node folded",
    ]


def test_a_model_without_batch_norms_says_so():
    lines = lines_of(report())

    assert lines[1] == "no BatchNorm found"
    assert "Folded" not in lines
    assert "Stays" not in lines


def test_few_folds_are_all_named():
    made = report(folds=[fold(f"bn{i}", into=(f"conv{i}",)) for i in range(4)])

    assert block(lines_of(made), "Folded", "    bn3 into conv3") == [
        "Folded",
        "  4 BatchNormalization into the operator before",
        "    bn0 into conv0",
        "    bn1 into conv1",
        "    bn2 into conv2",
        "    bn3 into conv3",
    ]


def test_many_folds_are_grouped_and_cut_short():
    made = report(
        folds=[
            *(fold(f"mul{i}", op="Mul", into=("bn",), direction="downstream", through=("t",)) for i in range(2)),
            *(fold(f"bn{i}", into=(f"conv{i}",)) for i in range(121)),
        ]
    )

    lines = lines_of(made)

    assert block(lines, "Folded", "    mul1 into bn through t") == [
        "Folded",
        "  121 BatchNormalization into the operator before",
        "    bn0 into conv0",
        "    bn1 into conv1",
        "    bn2 into conv2",
        "    and 118 more (-v names them)",
        "  2 Mul into the operators behind",
        "    mul0 into bn through t",
        "    mul1 into bn through t",
    ]
    assert len(lines) < 40


def test_verbose_names_every_fold():
    made = report(folds=[fold(f"bn{i}", into=(f"conv{i}",)) for i in range(121)])

    lines = lines_of(made, verbose=True)

    assert all(f"    bn{i} into conv{i}" in lines for i in range(121))
    assert not any("more" in line for line in lines)


def test_long_names_get_a_line_each_and_stay_whole():
    name = "/features/denseblock1/denselayer1/norm1/BatchNormalization"
    target = "/features/denseblock1/denselayer1/conv1/Conv"

    lines = lines_of(report(folds=[fold(name, into=(target,))]))

    assert lines[lines.index(f"    {name}") + 1] == f"      into {target}"


def test_a_node_that_stays_shows_path_evidence_and_advice():
    reason = refusal(
        evidence="3 of 64 channels have scale < 0 (min -0.41, channel 17)",
        path=("bn3", "relu1", "pool2"),
        hint="move the BatchNorm before the pooling to fold it",
    )

    lines = lines_of(report(stays=[kept("bn3", reason)]))

    last = "      note     move the BatchNorm before the pooling to fold it"
    assert block(lines, "Stays", last) == [
        "Stays",
        "  BNF104 needs-non-negative-scale: 1 BatchNorm",
        "  only a scale >= 0 commutes with the operator",
        "    bn3",
        "      path     <- relu1 <- pool2",
        "      because  3 of 64 channels have scale < 0 (min -0.41, channel 17)",
        last,
    ]


def test_nodes_that_stay_are_grouped_by_code_with_two_examples():
    stays = [kept(f"t{i}", refusal(Reason.TRAINING_MODE, "training_mode is 1", (f"t{i}",))) for i in range(2)]
    stays += [kept(f"bn{i}") for i in range(5)]

    lines = lines_of(report(stays=stays))

    assert "  BNF104 needs-non-negative-scale: 5 BatchNorms" in lines
    assert "    and 3 more (-v names them)" in lines
    assert "    bn1" in lines
    assert "    bn2" not in lines
    assert lines.index("  BNF001 training-mode: 2 BatchNorms") > lines.index("    bn1")


def test_a_path_that_leads_nowhere_is_not_shown():
    lines = lines_of(report(stays=[kept("bn", refusal(Reason.TRAINING_MODE, "training_mode is 1", ("bn",)))]))

    assert lines[lines.index("    bn") + 1] == "      because  training_mode is 1"


def test_verbose_shows_every_node_with_every_reason():
    second = refusal(Reason.GRAPH_OUTPUT, "'y' is an output of the graph", ("bn", "relu9"))
    stays = [kept(f"bn{i}", refusal(path=(f"bn{i}", "pool")), second) for i in range(5)]

    lines = lines_of(report(stays=stays), verbose=True)

    assert all(f"    bn{i}" in lines for i in range(5))
    assert lines.count("      nor      -> relu9 'y' is an output of the graph (BNF202)") == 5


def test_other_affine_nodes_that_stay_take_one_line_unless_asked_for():
    stays = [kept(f"m{i}", refusal(Reason.NOT_LINEAR, "Softmax"), op="Mul") for i in range(3)]
    stays += [kept("a", refusal(Reason.OTHER_CONSUMERS, "also read by 'x'"), op="Add")]

    assert "  4 other affine nodes: 3 not-linear, 1 other-consumers (-v names them)" in lines_of(report(stays=stays))
    verbose = lines_of(report(stays=stays), verbose=True)
    assert "  BNF101 not-linear: 3 other affine nodes" in verbose
    assert "    m2 (Mul)" in verbose
    assert "    a (Add)" in verbose


def test_sizes_are_aligned_with_their_change():
    assert block(lines_of(report()), "Sizes", "  bytes       32,600,000  32,600,000        0") == [
        "Sizes",
        "                  before       after   change",
        "  nodes              910         668     -242",
        "  parameters   8,062,504   8,020,000  -42,504",
        "  bytes       32,600,000  32,600,000        0",
    ]


def test_a_passed_check_shows_samples_seed_and_differences():
    assert block(lines_of(report()), "Check passed on 3 samples, seed 7", "  mask           0         0") == [
        "Check passed on 3 samples, seed 7",
        "  output   max abs   max rel",
        "  logits  1.19e-07  3.40e-06",
        "  mask           0         0",
    ]


def test_a_failed_check_shows_the_problem_and_that_nothing_was_written():
    lines = lines_of(report(verification=FAILED, output=None))

    assert "Check failed on 3 samples, seed 7" in lines
    assert "  logits        -      inf  shape (1, 3) against (3,)" in lines
    assert "Nothing was written: the check failed" in lines


def test_noise_is_shown_where_it_was_measured():
    outputs = (OutputCheck("a", 1e-3, 2e-3, True, noise_floor=4e-3), OutputCheck("b", 0.0, 0.0, True))

    lines = lines_of(report(verification=Verification("passed", 4, 0, outputs)))

    assert block(lines, "Check passed on 4 samples, seed 0", "  b              0         0          -")[1:] == [
        "  output   max abs   max rel  own noise",
        "  a       1.00e-03  2.00e-03   4.00e-03  0.5x",
        "  b              0         0          -",
    ]


def test_the_places_inside_the_graph_are_counted_and_the_worst_is_named():
    outputs = (OutputCheck("a", 0.0, 0.0, True),)
    tensors = (
        TensorCheck("n1", frozenset({"c1", "n1"}), 1e-6, 3, True, noise_floor=2e-6, excess=0.25),
        TensorCheck("n2", frozenset({"c2", "n2"}), 5e-6, None, True, excess=0.125),
    )
    deployed = DeploymentCheck("CPUExecutionProvider", 2e-7, True)
    verification = Verification("passed", 4, 0, outputs, tensors, deployed)

    lines = lines_of(report(verification=verification))

    assert "  2 of 2 changed tensors equal inside the graph" in lines
    worst = "worst: n1, channel 3: 1.00e-06 of its scale, 0.5x its own noise; cut out, 0.25 of what rounding allows"
    assert worst in " ".join(" ".join(lines).split())
    assert "  at default settings (CPUExecutionProvider): max rel 2.00e-07" in lines


def test_a_place_that_is_wrong_is_named_with_what_is_wrong():
    tensors = (TensorCheck("n1", frozenset(), 0.01, 3, False, problem="channel 3 differs: 1 against 2"),)
    verification = Verification("failed", 4, 0, (), tensors, problem="tensor 'n1': channel 3 differs: 1 against 2")

    assert "  worst: n1, channel 3: channel 3 differs: 1 against 2" in lines_of(report(verification=verification))


def test_what_weakens_the_check_is_told():
    weak = Verification("passed", 4, 0, warnings=("output 'y' never varied",))

    assert "  warning: output 'y' never varied" in lines_of(report(verification=weak))


def test_a_problem_of_the_whole_check_is_shown():
    broken = Verification("failed", 0, 7, problem="the folded model does not run")

    assert "  the folded model does not run" in lines_of(report(verification=broken, output=None))


def test_a_skipped_check_is_not_called_passed():
    lines = lines_of(report(verification=SKIPPED, output=None))

    assert "Check skipped: nothing was compared" in lines
    assert "Nothing was written" in lines


def test_the_end_names_the_file_and_the_time_of_stages_that_took_any():
    assert lines_of(report())[-2:] == [
        "Wrote net.folded.onnx",
        "in 1.42 s (load 0.20, plan 0.10, verify 1.00, save 0.12)",
    ]


def test_lines_keep_to_the_width_and_lose_nothing():
    name = "layer/" * 30 + "end"
    made = report(folds=[fold(name)], stays=[kept("bn", refusal(path=("bn", name), evidence="word " * 40 + "last"))])

    for width in (40, 80):
        lines = lines_of(made, width=width)
        assert max(map(len, lines)) <= width
        assert name in "".join(line.strip() for line in lines)
        assert any("last" in line for line in lines)


def test_colour_only_where_asked_for():
    made = report(folds=[fold()], stays=[kept()])

    assert "\x1b[" not in render_text(made)
    assert "\x1b[32mpassed\x1b[0m" in render_text(made, color=True)


def test_names_are_neither_markup_nor_terminal_commands():
    text = render_text(report(folds=[fold("[red]x[/red] :smile:"), fold("\x1b[2J\nq")], input="a\rb"), color=True)

    assert "[red]x[/red] :smile: into conv1" in text
    assert r"\x1b[2J\nq into conv1" in text
    assert r"a\rb" in text
    assert "\x1b[2J" not in text


def test_nodes_of_which_the_name_says_nothing_are_shown_with_their_operators():
    named = fold("bn1", into=(Label("conv1", "Conv"),), through=(Label("layer1.Relu_3", "Relu"),))
    nameless = fold("247", into=(Label("245", "Conv"), Label("x", "aten::linear")), through=(Label("246", "MaxPool"),))

    lines = lines_of(report(folds=[named, nameless]))

    assert "    bn1 into conv1 through layer1.Relu_3" in lines
    assert "    247 into 245 (Conv), x (linear) through 246 (MaxPool)" in lines


def test_paths_show_operators_too():
    lines = lines_of(
        report(stays=[kept("247", refusal(path=("247", Label("246", "MaxPool"), Label("Conv_1", "Conv"))))])
    )

    assert "      path     <- 246 (MaxPool) <- Conv_1" in lines


def test_nodes_that_change_nothing_are_named_as_such():
    removed = [fold(f"mul{i}", op="Mul", direction="removed", into=()) for i in range(2)]

    lines = lines_of(report(folds=[fold(), fold("add", op="Add"), *removed], stays=[kept("div", op="Div")]))

    assert "1 of 4 other affine nodes folded, 2 that change nothing removed, 1 stays" in lines
    assert block(lines, "  2 Mul removed, as it changes nothing", "    mul1") == [
        "  2 Mul removed, as it changes nothing",
        "    mul0",
        "    mul1",
    ]


def test_a_comparison_with_the_original_read_as_inference_is_called_that():
    said = "  assume_inference=True asks"
    assert said in lines_of(report(read_as_inference=True))
    assert said not in lines_of(report())
