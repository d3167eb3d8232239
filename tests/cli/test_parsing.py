from pathlib import Path

import click
import pytest

from bnfold.cli.parsing import (
    by_name,
    parse_count,
    parse_dimension,
    parse_index,
    parse_input,
    parse_output,
    parse_report,
    parse_seconds,
    parse_shape,
    parse_size,
    parse_time_limit,
    parse_tolerance,
)
from bnfold.writing.destination import STDOUT


@pytest.mark.parametrize(
    ("parse", "text", "value"),
    [
        (parse_shape, "data=1,3,224,224", ("data", (1, 3, 224, 224))),
        (parse_shape, "x:0=7", ("x:0", (7,))),
        (parse_dimension, "batch=4", ("batch", 4)),
        (parse_input, "data=dir/x=1.npy", ("data", Path("dir/x=1.npy"))),
        (parse_input, "data=X.NPZ", ("data", Path("X.NPZ"))),
        (parse_report, "out/r.json", Path("out/r.json")),
        (parse_report, "r.HTML", Path("r.HTML")),
        (parse_report, "-", STDOUT),
        (parse_report, "/dev/null", Path("/dev/null")),
        (parse_report, "/proc/self/fd/1", Path("/proc/self/fd/1")),
        (parse_output, "out/", "out/"),
        (parse_output, "-", str(STDOUT)),
        (parse_output, "./-", "./-"),
        (parse_count, "3", 3),
        (parse_index, "0", 0),
        (parse_index, "12", 12),
        (parse_seconds, "0", 0.0),
        (parse_time_limit, "0.05", 0.05),
        (parse_tolerance, "1e-4", 1e-4),
        (parse_tolerance, "0", 0.0),
    ],
)
def test_values_mean_what_they_say(parse, text, value):
    assert parse(text) == value


@pytest.mark.parametrize(
    ("parse", "text"),
    [
        (parse_shape, "1,3,224,224"),
        (parse_shape, "=1,3"),
        (parse_shape, "data="),
        (parse_shape, "data=1,,3"),
        (parse_shape, "data=1,-1"),
        (parse_shape, "data=1,0"),
        (parse_shape, "data=1,N"),
        (parse_shape, "data=1.5"),
        (parse_shape, "data=²"),
        (parse_dimension, "batch"),
        (parse_dimension, "batch=1,2"),
        (parse_dimension, "batch=0"),
        (parse_input, "photos.npy"),
        (parse_input, "data=photos.csv"),
        (parse_report, "report.txt"),
        (parse_report, "json"),
        (parse_output, ""),
        (parse_count, "0"),
        (parse_count, "x"),
        (parse_count, "1.5"),
        (parse_index, "-1"),
        (parse_index, "x"),
        (parse_seconds, "-1"),
        (parse_seconds, "inf"),
        (parse_seconds, "soon"),
        (parse_time_limit, "0"),
        (parse_time_limit, "nan"),
        (parse_tolerance, "nan"),
        (parse_tolerance, "inf"),
        (parse_tolerance, "-1e-4"),
        (parse_tolerance, "small"),
    ],
)
def test_errors_say_got_and_expected(parse, text):
    with pytest.raises(click.BadParameter, match=r"got .*, expected ") as caught:
        parse(text)

    assert text in caught.value.message


def test_repeated_options_become_one_mapping():
    context = click.Context(click.Command("any"))

    assert by_name(context, None, [("a", 1), ("b", 2)]) == {"a": 1, "b": 2}
    with pytest.raises(click.BadParameter, match="'a' is given twice"):
        by_name(context, None, [("a", 1), ("b", 2), ("a", 1)])


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1", 1),
        ("512B", 512),
        ("2GiB", 2 * 2**30),
        ("2G", 2 * 2**30),
        ("2g", 2 * 2**30),
        ("2GB", 2 * 10**9),
        ("1.5 MB", 1_500_000),
        ("64k", 2**16),
        ("64kb", 64_000),
        ("3KiB", 3 * 2**10),
    ],
)
def test_sizes_are_written_as_for_other_tools(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text", ["", "0", "0.1", "G", "GB", "2i", "2iB", "2Gi", "2TB", "-1G", "1e9", "nan", "2 G B", "٢G"]
)
def test_sizes_that_are_none(text):
    with pytest.raises(click.BadParameter, match=r"got .*, expected a size"):
        parse_size(text)
