"""Runs the graph on this machine, telling of each component as it starts and ends."""

import datetime
import time
from collections.abc import Iterator
from dataclasses import dataclass

from ml_metadata.proto import metadata_store_pb2
from tfx import types
from tfx.dsl.compiler import compiler, constants
from tfx.orchestration import metadata
from tfx.orchestration.local import local_dag_runner, runner_utils
from tfx.orchestration.metadata import sqlite_metadata_connection_config
from tfx.orchestration.portable import launcher, runtime_parameter_utils
from tfx.orchestration.portable.mlmd import execution_lib
from tfx.proto.orchestration import pipeline_pb2
