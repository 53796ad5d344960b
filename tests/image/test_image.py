"""What the image holds and what it lacks, in real containers; test_kubeflow_in_containers runs the whole job in it."""

import hashlib
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from containers import RunInContainer

REPOSITORY = Path(__file__).parents[2]
PACKAGES = ["schema", "modules", "components", "pipeline"]
HOME = "/opt/lungseg"
# Whatever a file was removed from or a library was stripped in, as far as the product may come to import it.
IMPORTED = [
    "tfx.components",
    "tensorflow",
    "tensorflow_data_validation",
    "tensorflow_model_analysis",
    "tensorflow_transform.beam",
    "tensorflow.python.profiler.profiler_client",
    "tensorboard.main",
    "keras",
    "kfp",
    "apache_beam.io.gcp.gcsio",
    "albumentations",
    "cv2",
    "fastavro",
    "highdicom.seg",
    "matplotlib.pyplot",
    "numpy.testing",
    "pandas",
    "pyarrow.flight",
    "scipy.stats",
    "sklearn.metrics",
    "zstandard",
]
# Prints the modules, of all that is imported below, that Python has to compile first.
NOT_COMPILED = """
import os, struct, sys
import tensorflow, tfx.components, pipeline.cli
for name, module in sorted(sys.modules.items()):
    source, compiled = getattr(module, "__file__", None), getattr(module, "__cached__", None)
    if source is None or not source.startswith("/opt/lungseg/") or not source.endswith(".py"):
        continue
    if not os.path.exists(compiled):
        print(name)
        continue
    with open(compiled, "rb") as file:
        if struct.unpack("<8xL", file.read(12))[0] != int(os.path.getmtime(source)):
            print(name)
"""
# Prints the installed files of packages, each with its hash.
LISTING = """
import hashlib, importlib.util, pathlib, sys
lines = []
for package in sys.argv[1:]:
    folder = pathlib.Path(importlib.util.find_spec(package).origin).parent
    for path in folder.rglob("*"):
        if path.is_file() and path.suffix != ".pyc":
            lines.append(f"{path.relative_to(folder.parent)} {hashlib.sha256(path.read_bytes()).hexdigest()}")
print(*sorted(lines), sep="\\n")
"""


@pytest.fixture(scope="module")
def settings(image: str) -> dict[str, Any]:
    """The image's configuration, as docker tells it."""
    done = subprocess.run(["docker", "image", "inspect", image], capture_output=True, text=True, check=True)
    config: dict[str, Any] = json.loads(done.stdout)[0]["Config"]
    return config


def python(run_in_container: RunInContainer, code: str, *arguments: str) -> list[str]:
    """The lines that code prints in the container."""
    done = run_in_container(["python", "-c", code, *arguments])
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def shell(run_in_container: RunInContainer, command: str, user: str = "1000:1000") -> list[str]:
    """The lines that a shell's command prints in the container."""
    done = run_in_container(["sh", "-c", command], user=user)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_any_command_can_be_given(settings: dict[str, Any]) -> None:
    assert settings["Entrypoint"] is None
    assert settings["Cmd"] == ["lungseg", "--help"]


def test_it_says_what_it_is(settings: dict[str, Any]) -> None:
    labels = {name.removeprefix("org.opencontainers.image."): value for name, value in settings["Labels"].items()}
    assert set(labels) == {"title", "description", "licenses", "version"}
    assert labels["title"] == "lungseg"
    assert f'version = "{labels["version"]}"\n' in (REPOSITORY / "pyproject.toml").read_text()


def test_help_is_what_runs_by_default(run_in_container: RunInContainer) -> None:
    done = run_in_container([])
    assert done.returncode == 0, done.stderr
    assert "demo" in done.stdout
    assert done.stderr == ""


def test_wrong_input_is_told_apart_from_failures(run_in_container: RunInContainer) -> None:
    done = run_in_container(["python", "-m", "pipeline", "run", "--data", "/nowhere"])
    assert done.returncode == 2
    assert done.stderr.startswith("lungseg: ")
    assert done.stderr.count("\n") == 1


def test_the_user_is_not_root(settings: dict[str, Any], run_in_container: RunInContainer) -> None:
    assert settings["User"] == "1000:1000"
    assert shell(run_in_container, "id -u; id -un; id -g") == ["1000", "lungseg", "1000"]


def test_a_user_that_the_image_does_not_know_can_run_it(run_in_container: RunInContainer, tmp_path: Path) -> None:
    command = ["lungseg", "phantoms", "--output", "/work/phantoms", "--count", "3", "--size", "64"]
    done = run_in_container(command, {tmp_path: "/work"}, user="12345:0")
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "phantoms/images").iterdir())) == 3


def test_nobody_but_root_can_change_the_code(run_in_container: RunInContainer, image: str) -> None:
    assert shell(run_in_container, f"find {HOME} -xdev -writable -not -type l") == []
    writable = ["docker", "run", "--rm", "--network=none", image, "touch", f"{HOME}/new"]
    assert "Permission denied" in subprocess.run(writable, capture_output=True, text=True, check=False).stderr


def test_the_working_folder_is_the_users(image: str) -> None:
    command = ["docker", "run", "--rm", "--network=none", image, "sh", "-c", "pwd && touch new && ls -A"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["/work", "new"]


def test_libraries_find_a_place_for_their_files(run_in_container: RunInContainer) -> None:
    code = "import os, matplotlib as m; print(os.path.expanduser('~'), m.get_cachedir(), m.get_configdir())"
    done = run_in_container(["python", "-c", code])
    assert done.stdout.split() == ["/tmp", "/tmp/matplotlib", "/tmp/matplotlib"]  # noqa: S108
    assert done.stderr == ""


def test_nothing_is_left_of_the_build(run_in_container: RunInContainer) -> None:
    tools = "gcc g++ cc clang make cmake ld strip uv git"
    assert shell(run_in_container, f"for tool in {tools}; do command -v $tool; done; true") == []
    left = "-path '*/.cache/*' -o -path /src -o -path /opt/code -o -path /opt/installer -o -name '*_Packages*'"
    assert shell(run_in_container, rf"find / -xdev \( {left} \)", user="0:0") == []
    assert run_in_container(["python", "-m", "pip", "--version"]).stderr.endswith("No module named pip\n")


def test_python_is_the_environments(run_in_container: RunInContainer) -> None:
    assert shell(run_in_container, "command -v python; command -v lungseg") == [
        f"{HOME}/bin/python",
        f"{HOME}/bin/lungseg",
    ]
    assert python(run_in_container, "import sys; print(sys.prefix, sys.version_info[:2])") == [f"{HOME} (3, 11)"]


def test_folders_in_the_working_directory_do_not_hide_the_code(
    run_in_container: RunInContainer, tmp_path: Path
) -> None:
    for package in PACKAGES:
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text("raise SystemExit('the wrong one')")
    done = run_in_container(["python", "-m", "pipeline", "--help"], {tmp_path: "/work"})
    assert done.returncode == 0, done.stderr


def test_every_file_of_the_code_is_in_it(run_in_container: RunInContainer) -> None:
    here = [path for package in PACKAGES for path in (REPOSITORY / package).rglob("*") if path.is_file()]
    assert python(run_in_container, LISTING, *PACKAGES) == sorted(
        f"{path.relative_to(REPOSITORY)} {hashlib.sha256(path.read_bytes()).hexdigest()}"
        for path in here
        if path.suffix not in {".pyc", ".md"}
    )


def test_nothing_is_compiled_at_the_start(run_in_container: RunInContainer) -> None:
    assert python(run_in_container, NOT_COMPILED) == []


def test_what_was_removed_is_not_missed(run_in_container: RunInContainer) -> None:
    code = f"import {', '.join(IMPORTED)}; print('imported')"
    assert python(run_in_container, code)[-1] == "imported"
