"""Pools that end with their tests."""

import sys
from pathlib import Path

import pytest

from blush.cluster.client import stop_pool
from blush.cluster.resident import announced

sys.path.insert(0, str(Path(__file__).parent))
from cluster_helpers import alive, until


@pytest.fixture(scope="module", autouse=True)
def _workers_find_the_toy_tasks():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parent))
        yield


@pytest.fixture
def folder(tmp_path):
    """Folder of a pool that is ended after the test."""
    yield tmp_path / ".pool"
    found = announced(tmp_path / ".pool")
    stop_pool(tmp_path / ".pool")
    if found:
        until(lambda: not alive(found["pid"]))


@pytest.fixture(scope="module")
def shared_folder(tmp_path_factory):
    """Folder of a pool that the tests of a module share."""
    folder = tmp_path_factory.mktemp("run") / ".pool"
    yield folder
    stop_pool(folder)
