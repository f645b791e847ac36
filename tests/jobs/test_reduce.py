"""Sums of shards: the plain sum, in an order that nothing changes; and what is missing is named."""

import numpy as np
import pytest
import torch

from blush.errors import BlushError
from blush.fourier.backproject import Accumulator, hermitian, symmetrise
from blush.geometry.symmetry import operators
from blush.io.files import load_npz, save_npz
from blush.jobs import steps
from blush.jobs.inputs import missing_shards, read_plan
from blush.jobs.layout import RunFolder
from blush.jobs.reduce import _tables, _tree, load_sums

NAMES = ("noise", "weight", "scale_cross", "scale_power", "directions", "offset_square")


def write_shards(folder, count: int) -> list:
    """Random results of `count` shards whose sum depends on its order in the last bits."""
    rng = np.random.default_rng(count)
    paths = []
    for number in range(count):
        path = folder / f"shard{number}.npz"
        arrays = {"grid": rng.normal(0, 10.0 ** rng.integers(-3, 4), (3, 3, 2, 3)).astype(np.float32)}
        arrays |= {name: rng.normal(0, 10.0 ** rng.integers(-3, 4), 5) for name in NAMES}
        arrays |= {"table_pmax": rng.random(number + 1), "table_rot_deg": rng.random(number + 1)}
        save_npz(path, arrays)
        paths.append(path)
    return paths


def pairwise(arrays: list[np.ndarray]) -> np.ndarray:
    """((0 + 1) + (2 + 3)) + ...: neighbours first, an odd one at the end alone."""
    while len(arrays) > 1:
        arrays = [sum(arrays[i + 1 : i + 2], arrays[i]) for i in range(0, len(arrays), 2)]
    return arrays[0]


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 6, 7, 8, 13])
def test_the_tree_is_the_pairwise_sum_by_index(count, tmp_path):
    paths = write_shards(tmp_path, count)
    total, read = _tree(paths), [load_npz(path) for path in paths]
    for name in ("grid", *NAMES):
        assert np.array_equal(total[name], pairwise([arrays[name] for arrays in read]))
        scale = sum(np.abs(arrays[name]) for arrays in read)
        plain = sum(arrays[name].astype(np.float64) for arrays in read)
        assert (np.abs(total[name] - plain) <= count * np.finfo(total[name].dtype).eps * scale).all()


def test_tables_follow_the_shards(tmp_path):
    paths = write_shards(tmp_path, 4)
    save_npz(paths[0], load_npz(paths[0]) | {"accuracy_rotation_deg": np.array(2.5)})
    tables = _tables(paths)
    expected = np.concatenate([load_npz(path)["table_pmax"] for path in paths])
    assert np.array_equal(tables["table_pmax"], expected)
    assert float(tables["accuracy_rotation_deg"]) == 2.5


def forget(run, iteration: int) -> RunFolder:
    """As before iteration `iteration` ran."""
    folder = RunFolder(run)
    for path in folder.iteration(iteration).iterdir():
        path.unlink()
    return folder


def test_one_missing_shard_is_made_again_and_two_are_named_with_their_remedy(run, capsys):
    folder = forget(run, 2)
    steps.expectation_shard(run, 2, 1, 0)
    with pytest.raises(BlushError, match=r"half1_sums.npz: lacks 2 of 3 shards, first .*; run the same command again"):
        steps.reduce_half(run, 2, 1)
    assert not folder.sums(2, 1).exists()
    steps.expectation_shard(run, 2, 1, 2)
    assert missing_shards(run, 2, 1) == [1]
    assert steps.reduce_half(run, 2, 1).exists()
    assert "half1_shard0001" in capsys.readouterr().err
    assert missing_shards(run, 2, 1) == []


def test_the_order_in_which_shards_come_changes_nothing(run):
    folder = forget(run, 2)
    expected = {}
    for order in ((0, 1, 2), (2, 0, 1)):
        for shard in order:
            steps.expectation_shard(run, 2, 1, shard)
        steps.reduce_half(run, 2, 1)
        found = {path: path.read_bytes() for path in (folder.sums(2, 1), folder.statistics(2, 1))}
        assert found == (expected or found)
        expected = found
        forget(run, 2)


def test_the_sums_of_a_half_are_hermitian_and_symmetric(run):
    """What is written is ready for maps: applied again to the sum of the shards, the same comes out."""
    folder = forget(run, 2)
    grids = [torch.from_numpy(load_npz(steps.expectation_shard(run, 2, 1, s))["grid"][0]) for s in range(3)]
    steps.reduce_half(run, 2, 1)
    sums = load_sums(folder, 2, 1, 32, torch.device("cpu"))
    padded = torch.nn.functional.pad(grids[0] + grids[1] + grids[2], (0, 1))
    expected = symmetrise(hermitian(Accumulator(padded, 32, sums.r_max)), operators("D4"))
    assert torch.equal(sums.grid, expected.grid)
    plane = sums.grid[:, :, 0]
    scale = sums.grid.abs().max()
    assert (plane[..., 2] - plane[..., 2].flip(0, 1)).abs().max() < 1e-5 * scale


def test_a_sum_that_is_there_is_not_made_again(run):
    folder = RunFolder(run)
    before = folder.sums(2, 1).stat().st_mtime_ns
    assert steps.reduce_half(run, 2, 1) == folder.sums(2, 1)
    assert folder.sums(2, 1).stat().st_mtime_ns == before


def test_every_particle_is_counted_once(run):
    folder, plan = RunFolder(run), read_plan(run)
    for half in (1, 2):
        statistics = load_npz(folder.statistics(2, half))
        count = len(plan.rows[half - 1])
        assert len(statistics["table_pmax"]) == count
        assert 0.999 * count < statistics["weight"].sum() <= count * (1 + 1e-6)
        np.testing.assert_allclose(statistics["directions"].sum(), statistics["weight"].sum(), rtol=1e-10)
