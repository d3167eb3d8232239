"""Which sizes a check runs with: the first ones that the original accepts, and others where it leaves them free."""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain, islice

from bnfold.errors import UncheckedError
from bnfold.keywords import keyword
from bnfold.verification import VerifyOptions
from bnfold.verifier.models.refused import RefusedError
from bnfold.verifier.models.signature import Port
from bnfold.verifier.run.inputs import draw
from bnfold.verifier.run.session import EndlessError, Feeds, Observation, Session
from bnfold.verifier.run.settings import Setting, Settings, Shape
from bnfold.verifier.run.wanted import NOTHING, Wanted

# Sizes that messages of onnxruntime name: "Got: 64 Expected: 512". Others in them are ranks and indices.
_NUMBER = re.compile(r"(?<![\w.])\d+(?![\w.])")
_LARGEST_NAMED, _MOST_NAMED = 2**16, 12
_MOST_FURTHER = 300


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


def choose_feeding(
    original: Session,
    options: VerifyOptions,
    wanted: Wanted = NOTHING,
    require_room: Callable[[Mapping[str, Shape]], None] = lambda _: None,
) -> Feeding:
    """One way to feed the original that it accepts, and a second one where sizes are free and others are accepted.

    Args:
        original: the original.
        options: of the check.
        wanted: what its graph wants of its inputs.
        require_room: raises RefusedError for shapes of inputs on which a run would take too much memory.

    Raises:
        UncheckedError: it accepts none.
        UsageError: as `Settings`.
    """
    inputs = original.signature.inputs
    settings = Settings(inputs, options, wanted)
    refused: list[tuple[Setting, UncheckedError]] = []
    for first in chain(settings.natural(), _further(settings, refused)):
        try:
            require_room(first.shapes)
            feeds = draw(inputs, first, options, sample=0)
            seen = original.observe(feeds, original.exposed)
            break
        except EndlessError:
            raise
        except UncheckedError as error:  # also where these sizes take more memory than there is
            refused.append((first, error))
    else:
        raise _nothing_fits(inputs, options, refused)
    for other in settings.others(first) if options.samples > 1 else ():
        with suppress(RefusedError):
            require_room(other.shapes)
            original.run(draw(inputs, other, options, sample=1))
            return Feeding((first, other), feeds, seen)
    return Feeding((first,), feeds, seen)


def _further(settings: Settings, refused: Sequence[tuple[Setting, UncheckedError]]) -> Iterator[Setting]:
    """What is tried when nothing natural fits: the reasons why that was refused name sizes."""
    named = Counter(number for _, error in refused for number in _named(error))
    said = [number for number, _ in named.most_common(_MOST_NAMED)]
    yield from islice(settings.further(said), _MOST_FURTHER)


def _nothing_fits(
    inputs: Sequence[Port], options: VerifyOptions, refused: Sequence[tuple[Setting, UncheckedError]]
) -> UncheckedError:
    """That the original takes nothing; where its sizes are all fixed, a node of it is to blame, and no hint helps."""
    setting, reason = refused[0]
    fed = ", ".join(f"{name}={','.join(map(str, shape))}" for name, shape in setting.shapes.items())
    tried = "" if len(refused) == 1 else f" nor with {len(refused) - 1} other choices"
    way_out = ""
    if any(_has_free_sizes(port) for port in inputs if port.name not in options.shapes):
        way_out = f"; give {keyword('shapes')}, {keyword('VerifyOptions.dims')} or {keyword('VerifyOptions.inputs')}"
    elif any(port.dtype is not None and port.dtype.kind in "iuO" for port in inputs if port.name not in options.inputs):
        way_out = f"; give {keyword('VerifyOptions.inputs')}"
    error = UncheckedError(f"{reason} (fed with {fed or 'nothing'}{tried}){way_out}")
    error.__cause__ = None if way_out else reason
    return error


def _has_free_sizes(port: Port) -> bool:
    """Whether some are, or nothing is known of them."""
    return not port.shape or not all(isinstance(size, int) for size in port.shape)


def _named(error: UncheckedError) -> set[int]:
    numbers = map(int, _NUMBER.findall(str(error)))
    return {number for number in numbers if 1 < number <= _LARGEST_NAMED}
