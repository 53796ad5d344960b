"""Which split a record falls into: by its patient's bucket, and by how far the splits are turned over the buckets.

>>> [split_of_bucket(bucket, ends=[4, 5], rotation=2) for bucket in range(5)]
[0, 0, 1, 0, 0]
"""

import bisect
import hashlib
from collections.abc import Sequence
from itertools import accumulate

from tensorflow.core.example import example_pb2, feature_pb2
from tfx.proto import example_gen_pb2


def ends_of(config: example_gen_pb2.SplitConfig) -> list[int]:
    """Return the number of buckets up to the end of each split."""
    return list(accumulate(split.hash_buckets for split in config.splits))


def split_of_feature(feature: feature_pb2.Feature, ends: Sequence[int], rotation: int) -> int:
    """Return the number of the split of records with a feature; without rotation, that of TFX's own ExampleGen."""
    digest = hashlib.sha256(feature.SerializeToString(deterministic=True)).hexdigest()
    return split_of_bucket(int(digest, 16) % ends[-1], ends, rotation)


def split_of_bucket(bucket: int, ends: Sequence[int], rotation: int) -> int:
    """Return the number of the split that a bucket belongs to, once each split has moved `rotation` buckets back."""
    return bisect.bisect(ends, (bucket + rotation) % ends[-1])


def split_of(example: example_pb2.Example, _: int, ends: Sequence[int], feature: str, rotation: int) -> int:
    """Return the number of the split that a record belongs to, for `beam.Partition`.

    Raises:
        ValueError: The record lacks the feature.
    """
    if feature not in example.features.feature:
        raise ValueError(f"a record has no '{feature}': write its span again with `lungseg ingest`")
    return split_of_feature(example.features.feature[feature], ends, rotation)
