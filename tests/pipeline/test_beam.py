"""The section `beam`: what fits which runner, and what Beam is told."""

from typing import Any

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import (
    DirectOptions,
    GoogleCloudOptions,
    PipelineOptions,
    PortableOptions,
    StandardOptions,
    WorkerOptions,
)
from apache_beam.runners.portability.prism_runner import PrismRunner

from pipeline.beam.settings import BeamOptionError, BeamSettings
from pipeline.cli_options import read_beam
from pipeline.config import load_beam
from pipeline.errors import UserError

FLINK: dict[str, Any] = {"runner": "flink", "job_endpoint": "flink:8099", "worker_pool": "localhost:50000"}
DATAFLOW: dict[str, Any] = {
    "runner": "dataflow", "project": "clinic", "region": "europe-west4", "image": "registry/lungseg:1",
    "temp_location": "gs://clinic/tmp",
}  # fmt: skip


def options(**settings: Any) -> PipelineOptions:
    """As Beam reads what it is told; what it does not know would be left over."""
    arguments = BeamSettings(**settings).arguments()
    read = PipelineOptions(arguments)
    assert not {name.partition("=")[0].removeprefix("--") for name in arguments} - set(read.get_all_options())
    return read


def test_this_machine() -> None:
    assert BeamSettings().arguments() == [
        "--runner=pipeline.beam.direct.DirectRunner", "--direct_running_mode=in_memory", "--direct_num_workers=1",
        "--sdk_container_image=none", "--beam_plugins=tfx",
    ]  # fmt: skip
    of_several = options(mode="multi_processing", workers=3)
    assert of_several.view_as(DirectOptions).direct_num_workers == 3
    assert of_several.view_as(DirectOptions).direct_running_mode == "multi_processing"


@pytest.mark.parametrize(("arguments", "asked"), [([], 1), (BeamSettings().arguments(), 0)])
def test_prism_is_not_fetched(monkeypatch: pytest.MonkeyPatch, arguments: list[str], asked: int) -> None:
    """As Beam's own runner of one machine does, which goes on by itself where it gets no answer."""
    calls = []

    def fetch(*arguments: object) -> None:
        calls.append(arguments)
        raise OSError("no way out")

    monkeypatch.setattr(PrismRunner, "run_pipeline", fetch)
    with beam.Pipeline(argv=arguments) as pipeline:
        _ = pipeline | beam.Create([1, 2, 3])
    assert len(calls) == asked


@pytest.mark.parametrize("runner", ["flink", "spark"])
def test_an_engine_behind_a_job_server(runner: str) -> None:
    options_ = options(**{**FLINK, "runner": runner}, parallelism=8)
    assert options_.view_as(StandardOptions).runner == "PortableRunner"
    portable = options_.view_as(PortableOptions)
    assert portable.job_endpoint == "flink:8099"
    assert (portable.environment_type, portable.environment_config) == ("EXTERNAL", "localhost:50000")
    assert "--parallelism=8" in BeamSettings(**FLINK, parallelism=8).arguments()
    assert not any("parallelism" in argument for argument in BeamSettings(**FLINK).arguments())


def test_dataflow() -> None:
    options_ = options(**DATAFLOW, workers=20, options={"subnetwork": "regions/x/subnetworks/y"})
    assert options_.view_as(StandardOptions).runner == "DataflowRunner"
    cloud = options_.view_as(GoogleCloudOptions)
    assert (cloud.project, cloud.region, cloud.temp_location) == ("clinic", "europe-west4", "gs://clinic/tmp")
    workers = options_.view_as(WorkerOptions)
    assert (workers.sdk_container_image, workers.max_num_workers) == ("registry/lungseg:1", 20)
    assert workers.subnetwork == "regions/x/subnetworks/y"
    assert options(**DATAFLOW).view_as(WorkerOptions).max_num_workers is None


@pytest.mark.parametrize("runner", [{}, FLINK, DATAFLOW])
def test_workers_import_tfx_first(runner: dict[str, Any]) -> None:
    assert "--beam_plugins=tfx" in BeamSettings(**runner).arguments()


@pytest.mark.parametrize(
    ("assignments", "message"),
    [
        (["beam.runner=flinc"], "configuration: beam.runner: Input should be 'direct', 'flink', 'spark' or 'dataflow', "
         "is 'flinc'"),
        (["beam.runner=flink"], "configuration: beam: runner flink needs 'job_endpoint': set beam.job_endpoint"),
        (["beam.runner=flink", "beam.job_endpoint=x:1"],
         "configuration: beam: runner flink needs 'worker_pool': set beam.worker_pool"),
        (["beam.runner=dataflow", "beam.project=p", "beam.region=r", "beam.image=i"],
         "configuration: beam: runner dataflow needs 'temp_location': set beam.temp_location"),
        (["beam.project=p"], "configuration: beam: 'project' is for dataflow, not for runner direct: leave it out"),
        (["beam.parallelism=2"],
         "configuration: beam: 'parallelism' is for flink and spark, not for runner direct: leave it out"),
        (["beam.job_endpoint=http://flink"], "configuration: beam.job_endpoint: String should match pattern "
         "'^[^\\s:/]+:[0-9]{1,5}$', is 'http://flink'"),
        (["beam.options={subnetwrk: x}"], "beam.options.subnetwrk is no option of Beam; the nearest is 'subnetwork'"),
        (["beam.options={runner: x}"],
         "beam.options.runner is set by the other keys of the section beam: leave it out"),
        (["beam.options={direct_running_mode: multi_threading}"],
         "beam.options.direct_running_mode is set by the other keys of the section beam: leave it out"),
        (["beam.runer=flink"], "configuration: unknown key 'beam.runer'; the nearest known one is 'beam.runner'"),
        (["train.epochs=3"], "--set train.epochs: only keys of the section 'beam' count here, such as beam.runner"),
        (["beam"], "--set beam: must be KEY=VALUE, such as train.epochs=3"),
    ],
)  # fmt: skip
def test_what_is_wrong(assignments: list[str], message: str) -> None:
    with pytest.raises(UserError) as caught:
        read_beam(assignments)
    assert str(caught.value) == message


def test_no_option_opens_the_way_to_threads() -> None:
    with pytest.raises(BeamOptionError):
        BeamSettings(options={"direct_running_mode": "multi_threading"}).arguments()
    assert load_beam({}) == BeamSettings()
