"""Beam on this machine, named as Beam takes it: `--runner=pipeline.beam.direct.DirectRunner`."""

from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.pipeline import Pipeline
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.runners.portability.portable_runner import JobServiceHandle
from apache_beam.runners.runner import PipelineResult


class DirectRunner(FnApiRunner):
    """What Beam's own DirectRunner comes to where it does not find Prism, and never Prism.

    Beam's first fetches Prism from the internet, a runner of another language, and hands it the pipeline: the same
    data would then be processed by other code where a machine has a way out, what steps raise would come back as
    text, and `direct_running_mode` would say nothing. Where there is no way out, each pipeline is translated once
    more for nothing.
    """

    def run_pipeline(self, pipeline: Pipeline, options: PipelineOptions) -> PipelineResult:
        """Run it, and tell worker processes its options, of which FnApiRunner by itself says nothing."""
        told = JobServiceHandle.encode_pipeline_options(options.get_all_options())
        self._provision_info.provision_info.pipeline_options.CopyFrom(told)
        return super().run_pipeline(pipeline, options)
