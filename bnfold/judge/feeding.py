"""Which sizes a check runs with: the first ones that the original accepts, and others where it leaves them free."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from bnfold.errors import UncheckedError
from bnfold.judge.complaints import GO_ON, RefusedError
from bnfold.judge.inputs import draw
from bnfold.judge.options import VerifyOptions
from bnfold.judge.sessions import Feeds, Observation, Session
from bnfold.judge.shapes import Setting, other_settings, settings


@dataclass(frozen=True)
class Feeding:
    """How a check feeds the models.

    Attributes:
        settings: one way, or two; samples take them in turn.
        feeds: the first sample.
        observation: what the original made of it, with all that it exposes.
    """

    settings: tuple[Setting, ...]
    feeds: Feeds
    observation: Observation


def choose_feeding(original: Session, options: VerifyOptions, bounds: Mapping[str, int]) -> Feeding:
    """One way to feed the original that it accepts, and a second one where sizes are free and others are accepted.

    Args:
        original: the original.
        options: of the check.
        bounds: below which the integers of an input have to stay, where the graph says so.

    Raises:
        UncheckedError: it accepts none.
        UsageError: as `shapes.settings`.
    """
    inputs = original.signature.inputs
    first = _first_that_runs(original, options, bounds)
    for other in other_settings(inputs, options, first.settings[0]) if options.samples > 1 else ():
        try:
            original.run(draw(inputs, other, options, sample=1))
        except RefusedError:
            continue
        return replace(first, settings=(*first.settings, other))
    return first


def _first_that_runs(original: Session, options: VerifyOptions, bounds: Mapping[str, int]) -> Feeding:
    refused: list[tuple[Setting, UncheckedError]] = []
    inputs = original.signature.inputs
    for setting in settings(inputs, options, bounds):
        feeds = draw(inputs, setting, options, sample=0)
        try:
            return Feeding((setting,), feeds, original.observe(feeds, original.exposed))
        except UncheckedError as error:  # also where these sizes take more memory than there is
            refused.append((setting, error))
    setting, reason = refused[0]
    fed = ", ".join(f"{name}={','.join(map(str, shape))}" for name, shape in setting.shapes.items())
    tried = "" if len(refused) == 1 else f" nor with {len(refused) - 1} other choices of sizes"
    raise UncheckedError(
        f"{reason} (fed with {fed or 'nothing'}{tried}); give --shape, --dim or --input, or {GO_ON}"
    ) from reason
