"""Beam's pool of Python workers, on one address: worker_pool.py ADDRESS:PORT EXECUTABLE

Beam's own `worker_pool_main` listens on all addresses. Here the task managers of one machine have a pool each, as they
have in pods of their own: they number their workers alike, and one would stop the other's in a pool that they share.
"""

import sys

import grpc
from apache_beam.portability.api import beam_fn_api_pb2_grpc
from apache_beam.runners.worker.worker_pool_main import BeamFnExternalWorkerPoolServicer
from apache_beam.utils import thread_pool_executor


def main(address: str, executable: str) -> None:
    server = grpc.server(thread_pool_executor.shared_unbounded_instance())
    pool = BeamFnExternalWorkerPoolServicer(use_process=True, container_executable=executable)
    beam_fn_api_pb2_grpc.add_BeamFnExternalWorkerPoolServicer_to_server(pool, server)
    server.add_insecure_port(address)
    server.start()
    server.wait_for_termination()


if __name__ == "__main__":
    main(*sys.argv[1:])
