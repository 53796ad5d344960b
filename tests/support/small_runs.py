"""Runs by TFX whose nodes, artifacts and properties are called as the real ones, and whose files are a few bytes."""

from pathlib import Path

import pytest
from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.orchestration.pipeline import Pipeline
from tfx.types import standard_artifacts

from modules.serving.saved_model import MODEL_FILE
from pipeline.errors import ComponentError
from pipeline.root import SERVING_DIR
from pipeline.runners import ComponentRun, LocalRunner
from schema.reports.serving import ServingPointer


def write(*uris: str) -> None:
    for uri in uris:
        (Path(uri) / "part").mkdir()
        (Path(uri) / "part/content").write_bytes(b"x" * 1000)


@component
def ExampleGen(examples: OutputArtifact[standard_artifacts.Examples], span: Parameter[int]) -> None:  # noqa: N802
    examples.set_int_custom_property("span", span)
    write(examples.uri)


@component
def BaselineResolver(  # noqa: N802
    examples: InputArtifact[standard_artifacts.Examples],
    model: OutputArtifact[standard_artifacts.Model],
    version: Parameter[int],
) -> None:
    model.set_int_custom_property("version", version)
    write(model.uri)


@component
def Trainer(  # noqa: N802
    examples: InputArtifact[standard_artifacts.Examples],
    model: OutputArtifact[standard_artifacts.Model],
    model_run: OutputArtifact[standard_artifacts.ModelRun],
    seed: Parameter[int],
    problem: Parameter[str],
) -> None:
    write(model.uri)
    if problem == "killed":
        raise KeyboardInterrupt  # which TFX does not clean up after
    if problem:
        raise ValueError(problem)
    write(model_run.uri)


@component
def Evaluator(  # noqa: N802
    model: InputArtifact[standard_artifacts.Model],
    baseline_model: InputArtifact[standard_artifacts.Model],
    blessing: OutputArtifact[standard_artifacts.ModelBlessing],
    blessed: Parameter[int],
) -> None:
    blessing.set_int_custom_property("blessed", blessed)
    write(blessing.uri)


@component
def Pusher(  # noqa: N802
    model: InputArtifact[standard_artifacts.Model],
    blessing: InputArtifact[standard_artifacts.ModelBlessing],
    pushed_model: OutputArtifact[standard_artifacts.PushedModel],
    version: Parameter[str],
) -> None:
    if version:
        pushed_model.set_string_custom_property("pushed_version", version)
    write(pushed_model.uri)


@component
def Reporter(  # noqa: N802
    pushed_model: InputArtifact[standard_artifacts.PushedModel],
    report: OutputArtifact[standard_artifacts.ModelEvaluation],
) -> None:
    write(report.uri)


class _Unheard:
    def started(self, component_id: str) -> None:
        pass

    def ended(self, run: ComponentRun) -> None:
        pass


def run(root: Path, *, seed: int, span: int = 1, version: int | None = None, problem: str = "") -> dict[str, bool]:
    """Run once.

    Args:
        root: Of the run.
        seed: Of the training.
        span: Of the data.
        version: What the model is pushed as, after which it serves; None: it is not blessed.
        problem: Of the Trainer: `killed`, or what it fails with.

    Returns:
        Of each component that succeeded, whether the cache gave what it makes.
    """
    runner = LocalRunner(root, _Unheard())
    data = ExampleGen(span=span)
    resolver = BaselineResolver(examples=data.outputs["examples"], version=(version or 1) - 1)
    trainer = Trainer(examples=data.outputs["examples"], seed=seed, problem=problem)
    evaluator = Evaluator(
        model=trainer.outputs["model"], baseline_model=resolver.outputs["model"], blessed=int(version is not None)
    )
    pusher = Pusher(model=trainer.outputs["model"], blessing=evaluator.outputs["blessing"], version=str(version or ""))
    reporter = Reporter(pushed_model=pusher.outputs["pushed_model"])
    pipeline = Pipeline(
        pipeline_name="lungs",
        pipeline_root=str(root / "artifacts"),
        components=[data, resolver, trainer, evaluator, pusher, reporter],
        enable_cache=True,
        metadata_connection_config=runner.connection,
    )
    if problem:
        with pytest.raises((ComponentError, KeyboardInterrupt)):
            runner.run(pipeline)
    else:
        runner.run(pipeline)
    if version is not None:
        serve(root, version)
    return {each.id: each.cached for each in runner.runs}


def serve(root: Path, version: int) -> None:
    """Put what counts as a model under a version, and make it the current one."""
    folder = root / SERVING_DIR / str(version)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MODEL_FILE).touch()
    ServingPointer(version=version, digest="").write(root / SERVING_DIR)
