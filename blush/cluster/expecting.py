"""What a workflow asks and does before its first step wants workers."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from blush.cluster.notices import follow_notices
from blush.cluster.resident import pool_settings
from blush.cluster.slurm import check_submission


def expect_pool(folder: Path, compute: Mapping[str, Any]) -> None:
    """At the start of a workflow: be refused by SLURM now rather than by every step, and follow the pool's notices.

    Raises
    ------
    BlushError
        If SLURM takes no worker of this configuration.
    """
    if pool_settings(compute)["kind"] == "slurm":
        check_submission(folder, compute)
    follow_notices(folder)
