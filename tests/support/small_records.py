"""Records of 96 x 96 pixels that the RecordValidator finds sound and different.

>>> import small_records
>>> small_records.make(1, "a", "p1").image.shape
(96, 96)
"""

from typing import Any

import cv2
import numpy as np

from schema.record import Record

Sets = dict[str, list[Record | bytes]]


def make(look: int, image_id: str, patient_id: str, source: str = "clinic", **changes: Any) -> Record:
    """Makes a record; `look` decides on the pixels."""
    noise = np.random.default_rng(look).standard_normal((96, 96), np.float32)
    soft = sum((cv2.GaussianBlur(noise, (0, 0), sigma) * sigma for sigma in (1, 2, 4, 8)), np.zeros_like(noise))
    mask = np.zeros((96, 96), np.uint8)
    mask[20:70, 15:40] = mask[20:70, 55:80] = 255
    image = cv2.normalize(soft, np.empty_like(soft), 0, 255, cv2.NORM_MINMAX).astype(np.uint8)
    made: dict[str, Any] = {"image": image, "mask": mask}
    names = {"image_id": image_id, "patient_id": patient_id, "source": source}
    return Record(**{**made, **names, "width": 320, "height": 240, **changes})


def splits(*more: Record | bytes) -> Sets:
    """Three patients, one a split, of whom the first has two images; more records in the training split."""
    return {
        "train": [make(1, "t1", "p1"), make(2, "t2", "p1"), *more],
        "eval": [make(3, "e1", "p2")],
        "test": [make(4, "s1", "p3")],
    }
