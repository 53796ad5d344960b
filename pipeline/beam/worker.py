"""Starts one of Beam's Python workers, for a worker pool: what `boot` does in Beam's images, but installs no packages.

    lungseg-worker --id ID --provision_endpoint HOST:PORT --control_endpoint HOST:PORT --logging_endpoint HOST:PORT

Without it a pool ignores the pipeline's options, and with them `--beam_plugins`.
"""

import argparse
import os
import sys

import grpc
from apache_beam.portability.api import (
    beam_provision_api_pb2,
    beam_provision_api_pb2_grpc,
    endpoints_pb2,
)
from apache_beam.runners.worker import sdk_worker_main
from apache_beam.runners.worker.worker_id_interceptor import WorkerIdInterceptor
from google.protobuf import json_format, text_format


def _provision(endpoint: str, worker_id: str) -> beam_provision_api_pb2.ProvisionInfo:
    channel = grpc.intercept_channel(grpc.insecure_channel(endpoint), WorkerIdInterceptor(worker_id))
    service = beam_provision_api_pb2_grpc.ProvisionServiceStub(channel)
    return service.GetProvisionInfo(beam_provision_api_pb2.GetProvisionInfoRequest()).info


def _descriptor(url: str) -> str:
    return text_format.MessageToString(endpoints_pb2.ApiServiceDescriptor(url=url))


def main() -> None:
    """Ask the engine for the pipeline's options and work for it until it says stop."""
    parser = argparse.ArgumentParser()
    for name in ("id", "provision_endpoint", "control_endpoint", "logging_endpoint"):
        parser.add_argument(f"--{name}", required=True)
    arguments, _ = parser.parse_known_args()
    # A pool does not read what its workers print, and what nobody reads blocks them in the end.
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    info = _provision(arguments.provision_endpoint, arguments.id)
    os.environ.update(
        WORKER_ID=arguments.id,
        PIPELINE_OPTIONS=json_format.MessageToJson(info.pipeline_options),
        CONTROL_API_SERVICE_DESCRIPTOR=_descriptor(arguments.control_endpoint),
        LOGGING_API_SERVICE_DESCRIPTOR=_descriptor(arguments.logging_endpoint),
        RUNNER_CAPABILITIES=" ".join(info.runner_capabilities),
    )
    sdk_worker_main.main([])
