"""Every changed tensor by itself: what is inside of its nodes as deep as it goes, and else its two subgraphs."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace

import numpy as np

from bnfold.verifier.compare.channels import Array
from bnfold.verifier.compare.finding import LocalFinding
from bnfold.verifier.local.crop import crop_of
from bnfold.verifier.local.float64.operator import NotComputedError
from bnfold.verifier.local.half_units import wide
from bnfold.verifier.local.inside import Inside, Look, Place, inside_bodies, inside_functions
from bnfold.verifier.local.pair import SubgraphPair, can_be_alone
from bnfold.verifier.local.probes import Impulses, Probe, Probes
from bnfold.verifier.local.recurrent import inside_recurrent
from bnfold.verifier.models.changed import ChangedTensor, find_changed_tensors
from bnfold.verifier.models.graph import Structure
from bnfold.verifier.models.refused import RefusedError
from bnfold.verifier.run.session import Session
from bnfold.verifier.run.wanted import index_bounds

_LOOKS: tuple[Look, ...] = (inside_bodies, inside_functions, inside_recurrent)


def check_alone(
    original: Structure, new: Structure, tensors: Iterable[ChangedTensor], seen: Mapping[str, Array], probes: Probes
) -> Iterator[LocalFinding]:
    """Compare changed tensors on values of the verifier's own choice.

    Args:
        original: the original.
        new: the new model.
        tensors: where they part.
        seen: values of tensors that subgraphs begin with. Sites of which some are missing are left out.
        probes: how other values are chosen.

    Yields:
        What is found, under the name of its tensor: several findings for one, or none where it cannot be computed.
    """
    for changed in tensors:
        if not can_be_alone(changed, original, seen):
            continue
        place = Place(changed, original, new, seen)
        inside = [list(_look_inside(entry, probes)) for look in _LOOKS for entry in look(place) or ()]
        yield from (_as_found_in(changed.name, finding) for findings in inside for finding in findings if finding)
        if not inside or any(None in findings for findings in inside):
            yield from _check_outside(place, probes)


def check_on_sample(
    original: Structure, new: Structure, changed: ChangedTensor, seen: Mapping[str, Array], where: str
) -> LocalFinding | None:
    """Compare a changed tensor on what a sample brings there; None where that cannot be computed.

    Args:
        original: the original.
        new: the new model.
        changed: where they part.
        seen: values of the tensors that its subgraphs begin with.
        where: how messages call the sample.
    """
    if not can_be_alone(changed, original, seen):
        return None
    with suppress(NotComputedError):
        pair = SubgraphPair(changed, original, new)
        probe = Probe(where, {name: wide(seen[name]) for name in changed.boundary})
        findings = [piece.compare(probe) for piece in pair.in_pieces(_shapes(probe.values))]
        return max(findings, key=lambda finding: finding.excess) if pair.makes_floats else None
    return None


def _check_outside(place: Place, probes: Probes) -> Iterator[LocalFinding]:
    """On random values, on zeros and, in half precision, on single numbers."""
    changed, original, new = place.changed, place.original, place.new
    begin = {name: place.values[name] for name in changed.boundary}
    shapes = _shapes(begin)
    crop = crop_of(changed, original, new, shapes)
    with suppress(NotComputedError):
        for pair in SubgraphPair(changed, original, new).in_pieces(shapes):
            for probe in probes.draws(begin, crop):
                finding = pair.compare(probe)
                if finding.what and not pair.makes_floats:  # what integers are made of may have been rounded
                    return
                yield finding
            if pair.shows_single_numbers:
                integers = [name for name, values in begin.items() if values.dtype.kind in "iu"]
                lengths = index_bounds(original, integers) if integers else {}
                wanted = Impulses(pair.has_narrow_numbers, pair.joins_places and crop.any_samples, pair.sides, lengths)
                for probe in probes.impulses(begin, crop, wanted):
                    yield pair.compare_singles(probe)


def _shapes(begin: Mapping[str, Array]) -> dict[str, tuple[int, ...]]:
    return {name: array.shape for name, array in begin.items()}


def _look_inside(inside: Inside, probes: Probes) -> Iterator[LocalFinding | None]:
    """Find where two insides part, and compare these tensors; None for each that cannot be compared."""
    try:
        ours, theirs = Structure(inside.original), Structure(inside.new, inside.held)
        tensors = find_changed_tensors(ours, theirs)
        names = dict.fromkeys(name for changed in tensors for name in changed.boundary)
        made = [name for name in names if name in ours.producers]
        observed = Session(inside.original, exposed=made).observe(inside.feeds, made).tensors
    except RefusedError:
        yield None
        return
    values = {**inside.feeds, **observed}
    seen = {name: value for name in names if isinstance(value := values.get(name), np.ndarray)}
    missing = {changed.name for changed in tensors}
    for finding in check_alone(ours, theirs, tensors, seen, probes):
        missing.discard(finding.tensor)
        yield finding
    yield from (None for _ in missing)


def _as_found_in(tensor: str, finding: LocalFinding) -> LocalFinding:
    """A finding about a tensor that only the inside knows, as one about the tensor that it is inside of."""
    channel = "" if finding.channel is None else f" channel {finding.channel}"
    what = f"differs inside: {finding.tensor!r}{channel} {finding.what}" if finding.what else ""
    return replace(finding, tensor=tensor, channel=None, what=what)
