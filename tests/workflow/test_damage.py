"""Damage under Snakemake: what a run reads again is verified by the same command, made again, or gone back from."""

import shutil

import pytest
from workflow_helpers import digests, run, snakemake

from blush.config import load_config
from blush.jobs import steps
from blush.jobs.autorefine import iterate
from blush.jobs.settings import take_up

DAMAGED = {
    "imported": {
        "import/particles.npz": "flip",
        "import/plan.npz": "truncate",
        "import/reference.mrc": "replace",
        "import/particles.star": "zero",
        "import/config.json": "flip",
    },
    "expected": {
        ".identity.json": "zero",
        "import/config.json": "delete",
        "import/particles.star": "flip",
        "it000/state.json": "truncate",
        "it001/state.json": "flip",
        "it001/poses.npz": "truncate",
        "it001/directions.npz": "delete",
        "it001/maps.json": "flip",
        "run_it001_half2_class001.mrc": "replace",
        "it002/half2_shard0001_*.npz": "truncate",
    },
    "maximised": {
        "it002/half1_sums.npz": "delete",
        "it002/half2_statistics.npz": "flip",
        "it002/maps.npz": "zero",
        "it002/maps.json": "replace",
        "run_it002_half1_class001.mrc": "flip",
    },
    "refined": {
        "it003/state.json": "flip",
        "it003/poses.npz": "zero",
        "it003/maps.npz": "truncate",
        "run_half1_class001_unfil.mrc": "flip",
        "run_half2_class001_unfil.mrc": "delete",
        "run_class001.mrc": "replace",
    },
    "lost with its source": {
        "run_it001_half1_class001.mrc": "flip",
        "it001/half1_sums.npz": "flip",
    },
}
"""What is damaged together, by the moment at which the run was stopped."""
FAST = "lost with its source"


def stopped(config_file, moment):
    """A run as a process leaves it that is stopped at a moment: imported, in iteration 2, or before postprocessing."""
    config = load_config(config_file)
    take_up(config)
    steps.import_run(config)
    folder = config.run_dir
    if moment == "imported":
        return folder
    steps.start(folder)
    iterate(folder, 1)
    if moment == "refined":
        for n in (2, 3):
            iterate(folder, n)
        return folder
    for half in (1, 2):
        for shard in steps.missing_shards(folder, 2, half):
            steps.expectation_shard(folder, 2, half, shard)
        if moment == "maximised":
            steps.reduce_subset(folder, 2, half)
    if moment == "maximised":
        steps.denoise_and_trail(folder, 2)
    return folder


def damage(path, kind, other):
    content = bytearray(path.read_bytes())
    if kind == "flip":
        content[len(content) // 2] ^= 1
    elif kind == "truncate":
        del content[len(content) // 2 :]
    elif kind == "zero":
        content[:] = bytes(len(content))
    elif kind == "replace":
        content = other.read_bytes()
        assert content != path.read_bytes()
    else:
        path.unlink()
        return
    path.write_bytes(content)


@pytest.mark.parametrize(
    "moment",
    [pytest.param(each, marks=[] if each == FAST else [pytest.mark.slow, pytest.mark.thorough]) for each in DAMAGED],
)
def test_the_same_command_undoes_damage(moment, make_config, tmp_path, one_process, monkeypatch):
    monkeypatch.chdir(tmp_path)  # tables name files relative to the working folder
    config = make_config()
    folder = stopped(config, moment)
    (tmp_path / "other").mkdir()
    other = (
        stopped(make_config(tmp_path / "other", seed=2), moment) if "replace" in DAMAGED[moment].values() else folder
    )
    named = {}
    for pattern, kind in DAMAGED[moment].items():
        (path,) = folder.glob(pattern)
        (theirs,) = other.glob(pattern)
        damage(path, kind, theirs)
        named[path] = kind
    run(snakemake(config))
    assert digests(folder) == one_process
    for path, kind in named.items():
        if kind != "delete" and path.parent.name != "import":  # which is written anew before it is read
            assert list(path.parent.glob(f"{path.name}.damaged-1")), path
    shutil.rmtree(tmp_path / "other")
