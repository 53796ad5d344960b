"""A cluster for all tests of this folder, which are skipped where none can be had."""

from collections.abc import Iterator

import pytest
from flink_cluster import NOT_STAGED, POM, FlinkCluster, flink_cluster
from maven import UnavailableError, fetch_jars


# Used by itself, so that nothing else is prepared where there is none.
@pytest.fixture(scope="session", autouse=True)
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FlinkCluster]:
    folder = tmp_path_factory.mktemp("flink")
    try:
        jars = fetch_jars(POM, folder / "jars" / NOT_STAGED)
    except UnavailableError as error:
        pytest.skip(str(error))
    with flink_cluster(jars, folder / "cluster") as cluster:
        yield cluster
