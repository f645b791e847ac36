"""Sums of shards: the plain sum, in an order that nothing changes; and what is missing is named."""

import numpy as np
import pytest
import torch

from blush.errors import BlushError
from blush.fourier.backproject import Accumulator, hermitian, symmetrise
from blush.geometry.symmetry import operators
from blush.io.files import load_npz, save_npz
from blush.jobs import planning, reduce, steps
from blush.jobs.inputs import read_plan
from blush.jobs.layout import RunFolder
from blush.jobs.reduce import _tables, _tree, load_sums
from blush.jobs.sealed import written
from blush.jobs.shards import missing_shards
from blush.refine.subset import Subset

NAMES = ("noise", "weight", "scale_cross", "scale_power", "directions", "offset_square")


def write_shards(folder, count: int) -> list:
    """Random results of `count` shards whose sum depends on its order in the last bits."""
    rng = np.random.default_rng(count)
    paths = []
    for number in range(count):
        path = folder / f"shard{number}.npz"
        arrays = {"grid_001": rng.normal(0, 10.0 ** rng.integers(-3, 4), (3, 3, 2, 3)).astype(np.float32)}
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
    total, read = _tree(paths, ("grid_001", *NAMES)), [load_npz(path) for path in paths]
    for name in ("grid_001", *NAMES):
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
        steps.reduce_subset(run, 2, 1)
    assert not folder.sums(2, Subset.FIRST).exists()
    steps.expectation_shard(run, 2, 1, 2)
    assert missing_shards(run, 2, Subset.FIRST) == [1]
    assert steps.reduce_subset(run, 2, 1).exists()
    assert "half1_shard0001" in capsys.readouterr().err
    assert missing_shards(run, 2, Subset.FIRST) == []


def test_the_order_in_which_shards_come_changes_nothing(run):
    folder = forget(run, 2)
    expected = {}
    for order in ((0, 1, 2), (2, 0, 1)):
        for shard in order:
            steps.expectation_shard(run, 2, 1, shard)
        steps.reduce_subset(run, 2, 1)
        found = {path: path.read_bytes() for path in (folder.sums(2, Subset.FIRST), folder.statistics(2, Subset.FIRST))}
        assert found == (expected or found)
        expected = found
        forget(run, 2)


def test_the_sums_of_a_half_are_hermitian_and_symmetric(run):
    """What is written is ready for maps: applied again to the sum of the shards, the same comes out."""
    folder = forget(run, 2)
    grids = [torch.from_numpy(load_npz(steps.expectation_shard(run, 2, 1, s))["grid_001"]) for s in range(3)]
    steps.reduce_subset(run, 2, 1)
    sums = load_sums(folder, 2, Subset.FIRST, 32, torch.device("cpu"))
    padded = torch.nn.functional.pad(grids[0] + grids[1] + grids[2], (0, 1))
    expected = symmetrise(hermitian(Accumulator(padded, 32, sums.r_max)), operators("D4"))
    assert torch.equal(sums.grid, expected.grid)
    plane = sums.grid[:, :, 0]
    scale = sums.grid.abs().max()
    assert (plane[..., 2] - plane[..., 2].flip(0, 1)).abs().max() < 1e-5 * scale


def test_a_sum_that_is_there_is_not_made_again(run):
    folder = RunFolder(run)
    before = folder.sums(2, Subset.FIRST).stat().st_mtime_ns
    assert steps.reduce_subset(run, 2, 1) == folder.statistics(2, Subset.FIRST)
    assert folder.sums(2, Subset.FIRST).stat().st_mtime_ns == before


def test_every_particle_is_counted_once(run):
    folder, plan = RunFolder(run), read_plan(run)
    for half in (1, 2):
        statistics = load_npz(folder.statistics(2, Subset(half)))
        count = len(plan.rows[half - 1])
        assert len(statistics["table_pmax"]) == count
        assert 0.999 * count < statistics["weight"].sum() <= count * (1 + 1e-6)
        np.testing.assert_allclose(statistics["directions"].sum(), statistics["weight"].sum(), rtol=1e-10)


N_FOLDS = 3


@pytest.fixture(scope="module")
def folded(make_config, tmp_path_factory):
    """A run of three folds per half, before its first sums; five shards are asked for, so each fold has two."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(planning, "folds_of", lambda config: N_FOLDS)
        config = make_config(tmp_path_factory.mktemp("folded"), compute={"device": "cpu", "shards_per_half": 5})
        steps.import_run(config)
    steps.start(config.run_dir)
    return config.run_dir


def test_sums_are_kept_apart_by_fold_and_statistics_are_not(folded):
    """D and W of a fold from its own two shards; noise and tables from all six in their order."""
    folder, plan = RunFolder(folded), read_plan(folded)
    assert [plan.fold(Subset.SECOND, s) for s in range(6)] == [0, 0, 1, 1, 2, 2]
    shards = [load_npz(steps.expectation_shard(folded, 1, 2, s)) for s in range(6)]
    assert missing_shards(folded, 1, Subset.SECOND) == []
    steps.reduce_subset(folded, 1, 2)
    for fold in range(N_FOLDS):
        sums = load_sums(folder, 1, Subset.SECOND, 32, torch.device("cpu"), fold)
        grid = torch.from_numpy(shards[2 * fold]["grid_001"] + shards[2 * fold + 1]["grid_001"])
        padded = Accumulator(torch.nn.functional.pad(grid, (0, 1)), 32, sums.r_max)
        assert torch.equal(sums.grid, symmetrise(hermitian(padded), operators("D4")).grid)
    statistics = load_npz(folder.statistics(1, Subset.SECOND))
    assert np.array_equal(statistics["noise"], pairwise([shard["noise"] for shard in shards]))
    assert np.array_equal(statistics["table_rot_deg"], np.concatenate([shard["table_rot_deg"] for shard in shards]))
    lost = folder.sums(1, Subset.SECOND, 2)
    content = lost.read_bytes()
    lost.unlink()
    steps.reduce_subset(folded, 1, 2)
    assert lost.read_bytes() == content


def test_every_reference_has_sums_of_its_own(run, monkeypatch):
    """Shards of two references, the second of twice the weight; each is found by its number."""
    folder = forget(run, 2)
    for shard in range(3):
        path = steps.expectation_shard(run, 2, 1, shard)
        arrays = load_npz(path)
        with written(folder, path) as beside:
            save_npz(beside, arrays | {"grid_002": 2 * arrays["grid_001"]})
    monkeypatch.setattr(reduce, "n_references", lambda state: 2)
    steps.reduce_subset(run, 2, 1)
    first, second = (load_sums(folder, 2, Subset.FIRST, 32, torch.device("cpu"), k=k) for k in (0, 1))
    assert first.grid.abs().max() > 0
    torch.testing.assert_close(second.grid, 2 * first.grid, rtol=0, atol=1e-40)  # below 1e-38 halves are rounded
