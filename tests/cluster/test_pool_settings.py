"""Which pool a run wants: told by its configuration, or by the workflow's executor."""

import pytest
from cluster_helpers import compute

from blush.cluster.resident import pool_settings


@pytest.mark.parametrize(
    ("pool", "exported", "kind"),
    [("auto", None, "local"), ("auto", "slurm", "slurm"), ("local", "slurm", "local"), ("slurm", "local", "slurm")],
)
def test_the_kind_of_a_pool(monkeypatch, pool, exported, kind):
    monkeypatch.delenv("BLUSH_POOL", raising=False)
    if exported:
        monkeypatch.setenv("BLUSH_POOL", exported)
    assert pool_settings(compute(pool=pool))["kind"] == kind
