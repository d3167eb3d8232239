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


def crops(count: int, height: int, width: int) -> npt.NDArray[np.float32]:
    """Random parts (count, 3, height, width) of two photographs of scikit-learn, from -1 to 1; pillow reads them.

    The photographs have 427 x 640 pixels; a part is as large as it can be at its height to width, or smaller by half.
    """
    from sklearn.datasets import load_sample_images  # type: ignore[import-untyped]

    random = np.random.default_rng(0)
    photographs = load_sample_images().images
    made = []
    for index in range(count):
        photograph = photographs[index % len(photographs)]
        step = min(photograph.shape[0] / height, photograph.shape[1] / width) * random.uniform(0.5, 1.0)
        places = [np.arange(length) * step for length in (height, width)]
        starts = [random.uniform(0, size - 1 - each[-1]) for size, each in zip(photograph.shape, places, strict=False)]
        rows, columns = ((start + each).astype(int) for start, each in zip(starts, places, strict=True))
        part = photograph[np.ix_(rows, columns)][:, :: random.choice([1, -1])]
        made.append(part.transpose(2, 0, 1) / 127.5 - 1)
    return np.stack(made).astype(np.float32)


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Without the quantizer's warnings: they advise a pre-processing that was done, or left out on purpose."""
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.disable(logging.NOTSET)
