"""What onnxruntime's quantizer asks for: samples to calibrate on, and an ear that is closed to its advice."""

import contextlib
import io
import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from onnxruntime.quantization import CalibrationDataReader

Sample = Mapping[str, npt.NDArray[Any]]


class Samples(CalibrationDataReader):  # type: ignore[misc]
    """Samples, each given once."""

    def __init__(self, samples: Sequence[Sample]) -> None:
        self._waiting = iter(samples)

    def get_next(self) -> Sample | None:
        """The next one, None behind the last."""
        return next(self._waiting, None)


def random_samples(shapes: Mapping[str, Sequence[int]], count: int, seed: int) -> list[Sample]:
    """Normal numbers; the same for the same seed."""
    random = np.random.default_rng(seed)
    return [
        {name: random.normal(size=shape).astype(np.float32) for name, shape in shapes.items()} for _ in range(count)
    ]


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Without the quantizer's warnings: they advise a pre-processing that was done, or left out on purpose."""
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(logging.NOTSET)
