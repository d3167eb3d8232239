"""Judges sites by themselves: from outside, and what is inside like two models of their own, as deep as it goes."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from bnfold.verifier.compare.channels import Array
from bnfold.verifier.local.closeups.bodies import closeups_of_bodies
from bnfold.verifier.local.closeups.closeup import Closeup, Lens, Place
from bnfold.verifier.local.closeups.functions import closeups_of_functions
from bnfold.verifier.local.closeups.recurrent import closeups_of_recurrent
from bnfold.verifier.local.crop import corners
from bnfold.verifier.local.finding import LocalFinding
from bnfold.verifier.local.local import LocalJudge, can_be_cut_out
from bnfold.verifier.local.probes import Probes
from bnfold.verifier.models.changed import Site, find_sites
from bnfold.verifier.models.graph import Structure
from bnfold.verifier.run.complaints import RefusedError
from bnfold.verifier.run.session import Session

_LENSES: tuple[Lens, ...] = (closeups_of_bodies, closeups_of_functions, closeups_of_recurrent)


def inspect(
    original: Structure, new: Structure, sites: Sequence[Site], seen: Mapping[str, Array], probes: Probes
) -> Iterator[LocalFinding]:
    """Run the parts of sites by themselves, and what is inside of them.

    Args:
        original: the original.
        new: the new model.
        sites: where they part.
        seen: values of tensors that parts begin with. Sites of which some are missing are left out.
        probes: how the values are chosen that the parts are run on.

    Yields:
        What is found, under the tensor of its site: several findings for a site, or none where it does not run.
    """
    possible = [site for site in sites if can_be_cut_out(site, original, seen)]
    for site in possible:  # first, because what is inside says more precisely what is wrong
        for closeup in _closeups(Place(site, original, new, seen)):
            for finding in _look_inside(closeup, probes):
                yield _from_outside(site.tensor, finding)
    like = corners(seen, possible, original, new)
    judge = LocalJudge(original, new, possible, like)
    for probe in probes.of(like):
        for finding in judge.judge(probe.values, probe.random).values():
            yield replace(finding, where=probe.where)
    yield from judge.read(like)


def _closeups(place: Place) -> Iterator[Closeup]:
    for lens in _LENSES:
        yield from lens(place)


def _look_inside(closeup: Closeup, probes: Probes) -> Iterator[LocalFinding]:
    """Find where two insides part, and judge these sites; nothing where the original's does not run."""
    try:
        ours, theirs = Structure(closeup.original), Structure(closeup.new)
        sites = find_sites(ours, theirs)
        names = dict.fromkeys(name for site in sites for name in site.boundary)
        inside = [name for name in names if name in ours.producers]
        observed = Session(closeup.original, exposed=inside).observe(closeup.feeds, inside).tensors
    except RefusedError:
        return
    values = {**closeup.feeds, **observed}
    seen = {name: value for name in names if isinstance(value := values.get(name), np.ndarray)}
    yield from inspect(ours, theirs, sites, seen, probes)


def _from_outside(tensor: str, finding: LocalFinding) -> LocalFinding:
    """A finding about a tensor that only the inside knows, as one about its site."""
    channel = "" if finding.channel is None else f" channel {finding.channel}"
    what = f"differs inside: {finding.tensor!r}{channel} {finding.what}" if finding.what else ""
    return replace(finding, tensor=tensor, channel=None, what=what)
