"""schema.pbtxt, which TFX reads, and features.py, which code reads, say the same."""

import importlib
import subprocess
import sys
from collections import Counter
from functools import cache

import pytest
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from schema import features

BYTES = (features.IMAGE, features.MASK, *features.TEXT)
ALL = (*BYTES, *features.INTEGERS, *features.FLOATS)


@cache
def schema() -> schema_pb2.Schema:
    return text_format.Parse(features.SCHEMA_FILE.read_text(), schema_pb2.Schema())


@cache
def by_name() -> dict[str, schema_pb2.Feature]:
    return {feature.name: feature for feature in schema().feature}


def test_every_feature_is_listed_once() -> None:
    assert Counter(feature.name for feature in schema().feature) == Counter(ALL)
    constants = {value for name, value in vars(features).items() if name.isupper() and isinstance(value, str)}
    assert set(ALL) == constants - {
        features.UNKNOWN,
        features.AXIAL,
        features.NOT_AUGMENTED,
        features.TRANSFORM_SEPARATOR,
    }


@pytest.mark.parametrize(
    ("names", "kind"),
    [(BYTES, schema_pb2.BYTES), (features.INTEGERS, schema_pb2.INT), (features.FLOATS, schema_pb2.FLOAT)],
    ids=["bytes", "int", "float"],
)
def test_types(names: tuple[str, ...], kind: int) -> None:
    assert {name: by_name()[name].type for name in names} == dict.fromkeys(names, kind)


@pytest.mark.parametrize("name", ALL)
def test_every_feature_holds_one_value_in_every_record(name: str) -> None:
    feature = by_name()[name]
    assert feature.HasField("shape")
    assert not feature.shape.dim
    assert (feature.presence.min_fraction, feature.presence.min_count) == (1, 1)


def test_statistics_are_taken_of_what_is_not_disabled() -> None:
    taken = {name for name, feature in by_name().items() if feature.lifecycle_stage != schema_pb2.DISABLED}
    assert taken == set(features.STATISTICS)
    assert len(features.STATISTICS) == len(taken)
    assert set(ALL) - taken == {features.IMAGE, features.MASK, features.IMAGE_ID, features.PATIENT_ID}


def test_the_tensor_representations_name_every_feature_once() -> None:
    assert list(schema().tensor_representation_group) == [""]
    group = schema().tensor_representation_group[""].tensor_representation
    assert set(group) == set(ALL)
    for name, representation in group.items():
        assert representation.WhichOneof("kind") == "dense_tensor"
        assert representation.dense_tensor.column_name == name
        assert not representation.dense_tensor.shape.dim


def test_domains() -> None:
    assert list(by_name()[features.SEX].string_domain.value) == ["female", "male", "other", features.UNKNOWN]
    age = by_name()[features.AGE].float_domain
    assert (age.min, age.max) == (features.UNKNOWN_AGE, 130)
    for name in features.FINGERPRINT:
        domain = by_name()[name].float_domain
        assert (domain.min, domain.max) == (0, 1)
    flag = by_name()[features.IS_AUGMENTED].int_domain
    assert (flag.min, flag.max) == (0, 1)
    assert by_name()[features.WIDTH].int_domain.min == by_name()[features.HEIGHT].int_domain.min == 1


def test_drift_is_looked_for_in_all_that_tells_originals_apart() -> None:
    compared = {
        name: feature.drift_comparator for name, feature in by_name().items() if feature.HasField("drift_comparator")
    }
    assert set(compared) == {*features.DESCRIPTIVE, *features.FINGERPRINT}
    for name, comparator in compared.items():
        (kind,) = [field.name for field, _ in comparator.ListFields()]
        assert kind == ("infinity_norm" if name in features.TEXT else "jensen_shannon_divergence")
        assert 0 < getattr(comparator, kind).threshold <= 0.2


def test_importing_the_contract_brings_nothing_from_above() -> None:
    above = {"tfx", "apache_beam", "tensorflow_transform", "modules", "components", "pipeline"}
    code = f"import sys, schema.record; print(sorted({above} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_the_schema_lies_beside_the_code() -> None:
    assert features.SCHEMA_FILE.parent.samefile(next(iter(importlib.import_module("schema").__path__)))
