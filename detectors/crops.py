"""Looking closer where something moves, and putting together what was seen in several crops."""

from collections.abc import Sequence

from detectors.detections import Crop, Detections


def merge(found: Sequence[tuple[Crop, Detections]], size: tuple[int, int], iou: float) -> Detections:
    raise NotImplementedError
