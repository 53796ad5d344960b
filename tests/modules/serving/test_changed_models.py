"""A model that was changed after it was put into the serving folder is refused by whoever would take it."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import tensorflow as tf
from constant_model import Constant
from tensorflow.core.protobuf import saved_model_pb2

from modules.serving.content import digest
from modules.serving.saved_model import STATISTICS_FILE
from modules.serving.serving_dir import baseline_key, current_version, digest_of, pointed_version, promote, push
from schema.reports.serving import ServingPointer

Change = Callable[[Path], None]


class Sum(tf.Module):
    """Subtracts: which of the two inputs is which stands in the graph's edges alone."""

    @tf.function(input_signature=[tf.TensorSpec([], tf.float32), tf.TensorSpec([], tf.float32)])
    def __call__(self, first: tf.Tensor, second: tf.Tensor) -> tf.Tensor:
        return first - second


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three models."""
    folder = tmp_path_factory.mktemp("models")
    for name, module in enumerate((Constant(1), Constant(2), Sum())):
        tf.saved_model.save(module, str(folder / str(name)))
    return [folder / str(name) for name in range(3)]


@pytest.fixture
def serving(models: list[Path], tmp_path: Path) -> Path:
    """A serving folder with three versions, the last of which is current."""
    for model in models:
        push(model, tmp_path / "serving", statistics=b"statistics")
    return tmp_path / "serving"


def another_weight(folder: Path) -> None:
    """Change one byte of them."""
    [data] = (folder / "variables").glob("variables.data-*")
    data.write_bytes(data.read_bytes()[:-1] + b"!")


def another_graph(folder: Path) -> None:
    """Exchange the inputs of the subtraction."""
    path = folder / "saved_model.pb"
    model = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    for function in model.meta_graphs[0].graph_def.library.function:
        for node in function.node_def:
            if node.op == "Sub":
                node.input[:] = reversed(node.input)
    path.write_bytes(model.SerializeToString())


def one_file_more(folder: Path) -> None:
    (folder / "variables" / "note").write_text("x")


def one_file_less(folder: Path) -> None:
    (folder / "fingerprint.pb").unlink()


def another_name(folder: Path) -> None:
    (folder / "fingerprint.pb").rename(folder / "fingerprint")


def other_statistics(folder: Path) -> None:
    (folder / STATISTICS_FILE).write_bytes(b"others")


CHANGES = [another_weight, another_graph, one_file_more, one_file_less, another_name, other_statistics]


def message(folder: Path) -> str:
    expected = (
        f"'{folder}' is no longer the model that was put there: files of it were changed, added or removed; "
        "restore them, or put another version back with `lungseg promote --to VERSION`"
    )
    return f"^{re.escape(expected)}$"


def forget_files(serving: Path) -> None:
    """Leave of the pointer what those before had."""
    pointer = json.loads((serving / "current.json").read_text())
    del pointer["files"]
    (serving / "current.json").write_text(json.dumps(pointer))


def test_what_nobody_changed_is_taken(serving: Path) -> None:
    assert current_version(serving) == 3
    assert digest_of(serving / "3") == ServingPointer.read(serving).digest
    assert baseline_key("other", serving).startswith("3:")


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_a_changed_model_is_refused(serving: Path, change: Change) -> None:
    change(serving / "3")
    for take in (current_version, lambda folder: digest_of(folder / "3"), lambda folder: baseline_key("other", folder)):
        with pytest.raises(ValueError, match=message(serving / "3")):
            take(serving)
    with pytest.raises(ValueError, match=message(serving / "3")):
        promote(serving, 3)
    assert pointed_version(serving) == 3


def test_another_version_is_put_back(serving: Path) -> None:
    one_file_more(serving / "3")
    assert promote(serving, 2) == [3]
    assert current_version(serving) == 2


def test_a_version_that_was_changed_does_not_come_back(serving: Path) -> None:
    another_weight(serving / "2")
    with pytest.raises(ValueError, match=message(serving / "2")):
        promote(serving, 2)
    promote(serving, 1)
    one_file_more(serving / "withdrawn" / "3")
    with pytest.raises(ValueError, match=message(serving / "withdrawn" / "3")):
        promote(serving, 3)
    assert current_version(serving) == 1


def test_a_withdrawn_version_is_known_as_well(serving: Path, models: list[Path]) -> None:
    promote(serving, 1)
    withdrawn = serving / "withdrawn" / "3"
    assert digest_of(withdrawn) == digest(models[2])
    another_graph(withdrawn)
    with pytest.raises(ValueError, match=message(withdrawn)):
        digest_of(withdrawn)


def test_restored_files_are_taken_again(serving: Path, models: list[Path]) -> None:
    another_weight(serving / "3")
    shutil.copytree(models[2], serving / "3", dirs_exist_ok=True)
    assert current_version(serving) == 3


def test_a_model_equal_to_a_changed_one_is_pushed_beside_it(serving: Path, models: list[Path]) -> None:
    another_graph(serving / "3")
    assert push(models[2], serving) == 4
    assert current_version(serving) == 4


def test_a_pointer_of_before_knows_what_its_model_computes(serving: Path) -> None:
    forget_files(serving)
    assert current_version(serving) == 3
    other_statistics(serving / "3")
    assert current_version(serving) == 3, "no part of the model"
    (serving / "3" / "note").write_text("x")
    with pytest.raises(ValueError, match=message(serving / "3")):
        current_version(serving)


def test_a_pointer_of_before_learns_the_files(serving: Path, models: list[Path]) -> None:
    promote(serving, 2)
    forget_files(serving)
    another_weight(serving / "1")
    promote(serving, 1)  # nothing tells that it was changed
    one_file_more(serving / "1")
    with pytest.raises(ValueError, match=message(serving / "1")):
        current_version(serving)


def test_a_damaged_pointer_is_mended_with_what_is_there(serving: Path) -> None:
    (serving / "current.json").write_text("{")
    promote(serving, 3)
    assert current_version(serving) == 3


def test_without_a_pointer_models_are_trusted(serving: Path) -> None:
    (serving / "current.json").unlink()
    one_file_more(serving / "3")
    assert current_version(serving) == 3
