"""How long the stages of a fold take."""

import time
from dataclasses import replace

from bnfold.report.model import Seconds

_NOTHING_YET = Seconds(load=0.0, plan=0.0, apply=0.0, verify=0.0, save=0.0)


class Stopwatch:
    """Adds up the seconds that the stages take, on top of those that they took before."""

    def __init__(self, before: Seconds = _NOTHING_YET) -> None:
        self.seconds = before
        self._last = time.perf_counter()

    def lap(self, stage_name: str) -> None:
        """Book the time since the last lap to a stage."""
        now = time.perf_counter()
        spent = getattr(self.seconds, stage_name) + now - self._last
        self.seconds = replace(self.seconds, **{stage_name: spent})
        self._last = now
