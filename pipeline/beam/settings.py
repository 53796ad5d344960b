"""What Beam runs on: the section `beam` of a configuration, and the options that Beam understands.

>>> BeamSettings(runner="flink", job_endpoint="flink:8099", worker_pool="localhost:50000").arguments()[0]
'--runner=PortableRunner'
"""

from typing import Annotated, Final, Literal

from pydantic import Field, model_validator

from schema.settings import Settings
from schema.suggestions import nearest

Runner = Literal["direct", "flink", "spark", "dataflow"]
Address = Annotated[str, Field(pattern=r"^[^\s:/]+:[0-9]{1,5}$")]
"""Host and port."""

_PORTABLE: Final[tuple[Runner, ...]] = ("flink", "spark")
_OF_RUNNER: Final[dict[str, tuple[Runner, ...]]] = {
    "mode": ("direct",),
    "job_endpoint": _PORTABLE,
    "worker_pool": _PORTABLE,
    "parallelism": _PORTABLE,
    "project": ("dataflow",),
    "region": ("dataflow",),
    "image": ("dataflow",),
    "temp_location": (*_PORTABLE, "dataflow"),
    "staging_location": ("dataflow",),
    "workers": ("direct", "dataflow"),
}
_REQUIRED: Final[dict[Runner, tuple[str, ...]]] = {
    "direct": (),
    "flink": ("job_endpoint", "worker_pool"),
    "spark": ("job_endpoint", "worker_pool"),
    "dataflow": ("project", "region", "image", "temp_location"),
}

DIRECT: Final = "pipeline.beam.direct.DirectRunner"
"""What runs Beam on this machine, by its place: so Beam is imported only where it runs."""
_NOTHING_TO_INSTALL: Final = "none"
"""Says that workers have all they need; else TFX packs itself up for each job, to be installed there: 42 MB a job."""
_WORKERS_WAIT: Final = 60_000
"""For the next stage of their job, milliseconds; else each stage starts workers of its own, which all import TFX."""


class BeamOptionError(ValueError):
    """One of `beam.options` cannot be taken; the message is one line."""


class BeamSettings(Settings):
    """Where the data stages run."""

    runner: Runner = "direct"
    """`direct`: on this machine; the others hand the work to an engine that sees the same files or buckets."""
    # Never multi_threading: it was seen to lose records without an error.
    mode: Literal["in_memory", "multi_processing"] = "in_memory"
    """Of `direct`. `in_memory`: one process; `multi_processing`: fresh worker processes for every stage."""
    workers: Annotated[int, Field(ge=1)] | None = None
    """Of `direct`: processes of `multi_processing`, one where not given; of `dataflow`: most machines at a time."""
    job_endpoint: Address | None = None
    """Of `flink` and `spark`: Beam's job server for that engine."""
    worker_pool: Address | None = None
    """Of `flink` and `spark`: Beam's Python worker pool, as the engine's own workers see it: one beside each."""
    parallelism: Annotated[int, Field(ge=1)] | None = None
    """Of `flink` and `spark`: slots to use; by default what the engine is set to."""
    project: str | None = None
    """Of `dataflow`: the project of Google Cloud."""
    region: str | None = None
    """Of `dataflow`: where its machines are."""
    image: str | None = None
    """Of `dataflow`: the container image of this project, in which the workers run."""
    temp_location: str | None = None
    """For files in between: a folder or bucket that all workers see."""
    staging_location: str | None = None
    """Of `dataflow`: for what is uploaded; by default below `temp_location`."""
    options: dict[str, str] = Field(default={})
    """Any other option of Beam or of the runner, by the name that Beam gives it."""

    @model_validator(mode="after")
    def _fits_the_runner(self) -> "BeamSettings":
        for name, runners in _OF_RUNNER.items():
            is_given = getattr(self, name) != type(self).model_fields[name].default
            if is_given and self.runner not in runners:
                raise ValueError(f"'{name}' is for {' and '.join(runners)}, not for runner {self.runner}: leave it out")
        for name in _REQUIRED[self.runner]:
            if getattr(self, name) is None:
                raise ValueError(f"runner {self.runner} needs '{name}': set beam.{name}")
        return self

    def arguments(self) -> list[str]:
        """Return the settings as Beam's command line has them.

        Raises:
            BeamOptionError: One of `options` is none that Beam knows, or one that is set otherwise.
        """
        self._check_options()
        # In a fresh worker process TFDV fails unless tfx was imported first.
        given = {**self._of_runner(), "beam_plugins": "tfx", "temp_location": self.temp_location, **self.options}
        return [f"--{name}={value}" for name, value in given.items() if value is not None]

    def _of_runner(self) -> dict[str, str | int | None]:
        if self.runner == "direct":
            return {
                "runner": DIRECT,
                "direct_running_mode": self.mode,
                "direct_num_workers": self.workers or 1,
                "sdk_container_image": _NOTHING_TO_INSTALL,
            }
        if self.runner == "dataflow":
            return {
                "runner": "DataflowRunner",
                "project": self.project,
                "region": self.region,
                "sdk_container_image": self.image,
                "max_num_workers": self.workers,
                "staging_location": self.staging_location,
            }
        return {
            "runner": "PortableRunner",
            "job_endpoint": self.job_endpoint,
            "environment_type": "EXTERNAL",
            "environment_config": self.worker_pool,
            "environment_cache_millis": _WORKERS_WAIT,
            "sdk_container_image": _NOTHING_TO_INSTALL,
            "parallelism": self.parallelism,
        }

    def _check_options(self) -> None:
        if not self.options:
            return
        from apache_beam.options.pipeline_options import PipelineOptions

        known = set(PipelineOptions([]).get_all_options())
        for name in self.options:
            if name in ("direct_running_mode", "beam_plugins", "temp_location", *self._of_runner()):
                raise BeamOptionError(f"beam.options.{name} is set by the other keys of the section beam: leave it out")
            if name not in known:
                meant = nearest(name, known, similarity=0)
                raise BeamOptionError(f"beam.options.{name} is no option of Beam; the nearest is '{meant}'")
