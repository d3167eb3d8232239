"""Both models of a check with the tensors of some sites to be seen, side by side."""

from collections.abc import Mapping, Sequence

import numpy as np

from bnfold.errors import UncheckedError
from bnfold.verifier.compare.channels import Array
from bnfold.verifier.compare.intermediate import Sample
from bnfold.verifier.compare.noise import Noise
from bnfold.verifier.local.finding import LocalFinding
from bnfold.verifier.local.local import LocalJudge, can_be_cut_out
from bnfold.verifier.models.changed import Site
from bnfold.verifier.models.graph import Structure
from bnfold.verifier.run.complaints import GO_ON, RefusedError, of_original
from bnfold.verifier.run.parallel import side_by_side
from bnfold.verifier.run.session import Feeds, Observation, Session


class NewModelRefuses(Exception):  # noqa: N818 - a verdict, not an error
    """The new model does not load, or does not run on what the original takes."""


class Pair:
    """Two sessions.

    Args:
        ours: the original.
        theirs: the new model.
        sites: where to look.

    Attributes:
        sites: the same.
        tensors: theirs.
        original: the original, with the tensors of the sites and of their boundaries exposed.
        new: the new model, with those of the sites.

    Raises:
        InvalidOriginalError, UncheckedError: as `open_original`.
        UncheckedError: it lacks an operator of the new model.
        NewModelRefuses: it does not take the new model.
    """

    def __init__(self, ours: Structure, theirs: Structure, sites: Sequence[Site]) -> None:
        self._ours, self._theirs, self.sites = ours, theirs, sites
        self.tensors = [site.tensor for site in sites]
        around = dict.fromkeys(name for site in sites for name in site.boundary)
        self._around = [name for name in around if name in ours.producers]  # the caller feeds the others
        self.original = open_original(ours, list(dict.fromkeys([*self.tensors, *self._around])))
        try:
            self.new = Session(theirs.model, exposed=self.tensors)
        except RefusedError as error:
            if error.lacking and not error.lacking.is_kernel:
                raise UncheckedError(f"{error}; {GO_ON}") from error
            raise NewModelRefuses(str(error)) from error

    def observe(self, number: int, where: str, feeds: Feeds, noise: Noise, known: Observation | None = None) -> Sample:
        """Run both on one sample.

        Args:
            number: of the sample, from 0. In the first one, the boundaries are seen as well.
            where: how messages call it.
            feeds: the inputs.
            noise: of the original.
            known: what the original made of it, if that is known.

        Raises:
            RefusedError: the original refuses it.
            NewModelRefuses: only the new model does.
        """

        def observe_original() -> Observation:
            return known or self.original.observe(feeds, self.original.exposed if number == 0 else self.tensors)

        def observe_new() -> Observation:
            try:
                return self.new.observe(feeds, self.tensors)
            except RefusedError as error:
                raise NewModelRefuses(f"{error} (in {where})") from error

        expected, got = side_by_side(observe_original, observe_new)

        def appeal(doubtful: Sequence[Site]) -> Mapping[str, LocalFinding]:
            seen = expected if number == 0 else self.original.observe(feeds, self._around)
            values = arrays(feeds, seen)
            possible = [site for site in doubtful if can_be_cut_out(site, self._ours, values)]
            return LocalJudge(self._ours, self._theirs, possible, values).judge(values)

        def find_moved(way: int) -> Sequence[Observation]:
            return noise.moved(feeds, self.original, self.tensors, way)

        return Sample(number, where, feeds, expected, got, find_moved, appeal)


def open_original(original: Structure, exposed: Sequence[str] = ()) -> Session:
    """The original with some tensors to be seen.

    Raises:
        InvalidOriginalError: onnxruntime says that it is invalid.
        UncheckedError: onnxruntime does not take it.
    """
    try:
        return Session(original.model, exposed=exposed)
    except RefusedError as error:
        raise of_original(error) from error


def arrays(feeds: Feeds, observation: Observation) -> dict[str, Array]:
    """Everything that was fed or seen and is a tensor."""
    seen = {**feeds, **observation.tensors}
    return {name: value for name, value in seen.items() if isinstance(value, np.ndarray)}
