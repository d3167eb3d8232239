"""How counts, numbers and names are written for people."""

import math
from collections.abc import Mapping

from bnfold.keywords import keyword


def counted(count: int, noun: str, plural: str = "s") -> str:
    """A count and its noun: 1 node, 2 nodes; 2 branches with the ending "es"."""
    return f"{whole(count)} {noun}" if count == 1 else f"{whole(count)} {noun}{plural}"


def whole(value: int) -> str:
    """A count with its thousands apart."""
    return f"{value:,}"


def file_sizes(before: int, after: int) -> tuple[str, str, str]:
    """Two sizes in one unit, and the unit, that suits the larger: ("32.4", "32.3", "MB")."""
    largest = max(before, after)
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if largest >= size:
            return f"{before / size:.1f}", f"{after / size:.1f}", unit
    return whole(before), whole(after), "bytes"


def brief(value: float) -> str:
    """A measured number in two digits, such as 4.1e-07."""
    return "0" if value == 0 else f"{value:.1e}"


def percent(share: float) -> str:
    """A share as a whole number of percents, or with two digits where it is less than one: "44 %", "0.31 %"."""
    return f"{100 * share:.0f} %" if share >= 0.01 else f"{100 * share:.2g} %"


def decibels(value: float) -> str:
    """A ratio of signal to noise in decibels, such as 38.4; a dash where there is none."""
    return "-" if math.isnan(value) else f"{value:.1f}"


def measured(value: float) -> str:
    """A measured number in three digits, such as 1.19e-07; exactly zero is 0, and a dash says that there is none."""
    if math.isnan(value):
        return "-"
    return "0" if value == 0 else f"{value:.2e}"


def three_digits(value: float) -> str:
    """Such as 1.70, which stands beside 1.69, or 43.4."""
    return f"{value:#.3g}".rstrip(".")


def times(value: float, unit: float) -> str:
    """How many times a unit a value is, such as 0.8x; nothing where that says nothing."""
    return f"{value / unit:.2g}x" if math.isfinite(value) and math.isfinite(unit) and unit > 0 else ""


_LONGEST = 4096


def printable(name: str) -> str:
    """A name out of a model, its control characters spelled out so that it cannot steer a terminal.

    Of one that would take minutes to print, the beginning and the end.
    """
    if len(name) > _LONGEST:
        half = _LONGEST // 2
        name = f"{name[:half]} ... {whole(len(name) - 2 * half)} characters more ... {name[-half:]}"
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in name)


def one_line(message: str) -> str:
    """A message of another library, which may have line breaks, without them."""
    return " ".join(message.split())


def overridable(count: int) -> str:
    """What initializers cost that are inputs as well."""
    subject = "1 initializer is a graph input" if count == 1 else f"{whole(count)} initializers are graph inputs"
    them = "it" if count == 1 else "them"
    return (
        f"{subject} as well: callers may replace {them}, so runtimes do not optimise with {them} "
        f"({keyword('freeze_initializers', True)} takes {them} off the inputs)"
    )


def seconds(spent: float) -> str:
    """A time as one reads it: 0.15 s, 1.6 s, 83 s."""
    return f"{spent:.2f} s" if spent < 1 else f"{spent:.1f} s" if spent < 10 else f"{spent:.0f} s"


def timing(stages: Mapping[str, float]) -> str:
    """The whole time and the stages that took long enough to show: 1.42 s (load 0.20, plan 1.22)."""
    longest = ", ".join(f"{stage} {spent:.2f}" for stage, spent in stages.items() if spent >= 0.005)
    return f"{sum(stages.values()):.2f} s" + (f" ({longest})" if longest else "")
