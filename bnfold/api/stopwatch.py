"""How long the stages of a fold take."""

import time
from dataclasses import replace

from bnfold.report.model import Seconds


class Stopwatch:
    """Adds up the seconds that the stages take."""

    def __init__(self) -> None:
        self.seconds = Seconds(load=0.0, plan=0.0, apply=0.0, verify=0.0, save=0.0)
        self._last = time.perf_counter()

    def lap(self, stage_name: str) -> None:
        """Book the time since the last lap to a stage."""
        now = time.perf_counter()
        spent = getattr(self.seconds, stage_name) + now - self._last
        self.seconds = replace(self.seconds, **{stage_name: spent})
        self._last = now
