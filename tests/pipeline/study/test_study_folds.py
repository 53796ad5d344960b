"""Folds: their sizes, and whether there are patients for them."""

from collections.abc import Callable
from pathlib import Path

import pytest
import small_records
import tensorflow as tf

from pipeline.config import Config, load_config
from pipeline.errors import UserError
from pipeline.study.folds import check_folds, config_of_fold
from schema.record import encode


@pytest.fixture
def config_with(tmp_path: Path) -> Callable[[int], Config]:
    """A configuration whose data are so many patients, of two images each."""

    def of(patients: int) -> Config:
        folder = tmp_path / "data" / "span-3"
        folder.mkdir(parents=True)
        with tf.io.TFRecordWriter(str(folder / "records-00000-of-00001.tfrecord")) as writer:
            for number in range(2 * patients):
                writer.write(encode(small_records.make(number, f"i{number}", f"p{number // 2}")))
        return load_config("demo", {}, data=tmp_path / "data", root=tmp_path)

    return of


def test_shares_of_a_fold() -> None:
    config = load_config("demo", {"data.train_buckets": 3, "data.test_buckets": 2}, data=Path("/data"), root=Path("/r"))
    data = [config_of_fold(config, fold, 5).data for fold in range(1, 6)]
    assert {(each.train_buckets, each.eval_buckets, each.test_buckets) for each in data} == {(12, 4, 4)}
    assert [each.rotation for each in data] == [0, 4, 8, 12, 16]


def test_folds_that_patients_fill(config_with: Callable[[int], Config]) -> None:
    check_folds(config_with(60), 5)


def test_more_folds_than_patients(config_with: Callable[[int], Config]) -> None:
    with pytest.raises(UserError) as error:
        check_folds(config_with(30), 31)
    message = str(error.value)
    assert message.startswith("--folds 31: 30 patients leave a fold without any to train, validate or test on; ")
    possible = int(message.rpartition("--folds ")[2])
    assert 1 < possible < 30


def test_too_few_patients_for_any_folds(config_with: Callable[[int], Config]) -> None:
    with pytest.raises(UserError, match=r"^--folds 2: 2 patients leave .*; leave out --folds, or add patients$"):
        check_folds(config_with(2), 2)


def test_the_folds_that_are_named_do(config_with: Callable[[int], Config]) -> None:
    config = config_with(30)
    with pytest.raises(UserError) as error:
        check_folds(config, 31)
    check_folds(config, int(str(error.value).rpartition(" ")[2]))
