"""Faults in how a map was folded in: made of the original's parameters and a wrong formula."""

from dataclasses import replace

import numpy as np

from tests.faults.edits import Dead, NotHere, Wrong
from tests.faults.exact import Exact
from tests.faults.layouts import Parameters
from tests.faults.maps import Map, Statistics, statistics
from tests.faults.sites import Site

_NOT_EXACT = NotHere("the operator took the map in a way that this package does not compute")
_NO_BATCH_NORM = NotHere("not a BatchNorm")


def epsilon_forgotten(site: Site, _random: np.random.Generator) -> Wrong | NotHere:
    """1 / sqrt(var) instead of 1 / sqrt(var + eps)."""
    return _other_epsilon(site, 0.0, "eps forgotten")


def epsilon_twice(site: Site, _random: np.random.Generator) -> Wrong | NotHere:
    """1 / sqrt(var + eps + eps)."""
    return _other_epsilon(site, 2.0, "eps added twice")


def wrong_batch_norm(site: Site, random: np.random.Generator) -> Wrong | NotHere:
    """The parameters of another BatchNorm of as many channels."""
    own, exact = site.statistics, site.exact
    if own is None or exact is None:
        return _NO_BATCH_NORM if own is None else _NOT_EXACT
    graphs = site.subject.original
    others = [node for node in site.subject.batch_norms if node is not site.own.node]
    for place in random.permutation(len(others)):
        found = statistics(graphs, others[place])
        if found is not None and found.gamma.size == own.gamma.size:
            wrong = exact.with_map(exact.reach(found.map()))
            return _wrong(site, exact, wrong, f"parameters of {others[place].label}")
    return NotHere("no other BatchNorm has as many channels")


def scale_on_wrong_axis(site: Site, _random: np.random.Generator) -> Wrong | NotHere:
    """The scale along the inputs instead of the outputs, or the other way, cut or repeated where lengths differ."""
    exact = site.exact
    if exact is None:
        return _NOT_EXACT
    if not np.any(exact.map.scale != 1):
        return NotHere("no scale")
    bare = exact.with_map(exact.map.shift_alone())
    if site.side == "output":
        factors = bare.per_input(np.resize(exact.map.scale, bare.inputs))
        axis = "inputs instead of outputs"
    else:
        factors = bare.per_output(np.resize(exact.map.scale, bare.outputs))
        axis = "outputs instead of inputs"
    return _wrong(site, exact, Parameters(bare.weight * factors, site.right.bias), f"scale along the {axis}")


def groups_interleaved(site: Site, _random: np.random.Generator) -> Wrong | NotHere:
    """Channel m of group g takes the map of the place where channel g of group m would be."""
    exact = site.exact
    if exact is None:
        return _NOT_EXACT
    groups, per_group = site.right.groups, site.channels // site.right.groups
    if groups == 1 or per_group == 1:
        return NotHere("one group, or one channel a group")
    order = np.arange(site.channels).reshape(per_group, groups).T.reshape(-1)
    wrong = exact.with_map(Map(exact.map.scale[order], exact.map.shift[order]))
    return _wrong(site, exact, wrong, f"{groups} groups interleaved")


def sign_lost(site: Site, random: np.random.Generator) -> Wrong | NotHere:
    """The scale of one channel without its sign."""
    exact = site.exact
    if exact is None:
        return _NOT_EXACT
    negative = np.flatnonzero(exact.map.scale < 0)
    if not negative.size:
        return NotHere("no negative scale")
    channel = int(random.choice(negative))
    scale = exact.map.scale.copy()
    scale[channel] *= -1
    return _wrong(site, exact, exact.with_map(Map(scale, exact.map.shift)), f"sign of channel {channel} lost")


def bias_scaled_twice(site: Site, _random: np.random.Generator) -> Wrong | NotHere:
    """Upstream s * (s * b + t), downstream the shift through a weight that has its scale already."""
    exact = site.exact
    if exact is None:
        return _NOT_EXACT
    if site.side == "output":
        bias = exact.map.scale * site.right.full_bias
    else:
        bias = exact.with_map(Map(exact.map.scale, exact.map.scale * exact.map.shift)).full_bias
    return _wrong(site, exact, replace(site.right, bias=bias), "bias scaled twice")


def rounded_twice(site: Site, _random: np.random.Generator) -> Wrong | NotHere:
    """Scale and shift in float16 first, then the product in float16 again."""
    if site.precision != np.finfo(np.float16).eps:
        return NotHere("no float16 weights")
    exact = site.exact
    if exact is None:
        return _NOT_EXACT
    with np.errstate(over="ignore"):
        rounded = Map(*(vector.astype(np.float16).astype(np.float64) for vector in (exact.map.scale, exact.map.shift)))
    return _wrong(site, exact, exact.with_map(rounded), "scale and shift rounded to float16 before the product")


def _other_epsilon(site: Site, times: float, what: str) -> Wrong | NotHere:
    own, exact = site.statistics, site.exact
    if own is None or exact is None:
        return _NO_BATCH_NORM if own is None else _NOT_EXACT
    wrong: Statistics = own.with_epsilon(times * own.epsilon)
    if np.any(wrong.variance + wrong.epsilon <= 0):
        return NotHere("a variance of 0 needs its eps")
    return _wrong(site, exact, exact.with_map(exact.reach(wrong.map())), what)


def _wrong(site: Site, exact: Exact, parameters: Parameters, what: str) -> Wrong:
    dead = Dead(site.side, (exact.map.scale == 0) & (exact.map.shift == 0))
    return Wrong({site.index: parameters}, f"{what} of {site.label}", dead=dead)
