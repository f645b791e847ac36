"""How images are divided: half-sets, folds and shards, once for all."""

from dataclasses import replace

import numpy as np
import pytest

from blush.errors import BlushError
from blush.io.particles import ParticleSet
from blush.jobs import planning
from blush.jobs.inputs import Plan
from blush.jobs.planning import assign_folds, assign_halves, largest_shard, plan_shards
from blush.refine.subset import HALVES, Subset


def with_count(particles: ParticleSet, count: int) -> ParticleSet:
    return particles.take(np.arange(count) % len(particles))


@pytest.mark.parametrize("count", [2, 3, 48, 101])
@pytest.mark.parametrize("seed", [0, 1, 2**32 - 1])
def test_random_halves_are_equal_and_follow_the_seed(particles, count, seed):
    drawn = replace(with_count(particles, count), half=np.zeros(count, np.int8))
    half = assign_halves(drawn, seed)
    assert set(half.tolist()) == {1, 2}
    assert abs(int((half == 1).sum()) - int((half == 2).sum())) <= 1
    assert np.array_equal(half, assign_halves(drawn, seed))
    if count > 40:
        assert not np.array_equal(half, assign_halves(drawn, seed + 1 if seed < 2**32 - 1 else 0))


def test_halves_of_the_star_file_are_kept(particles):
    given = np.array([1, 1, 2] * 16, np.int8)
    assert np.array_equal(assign_halves(replace(particles, half=given), 1), given)


@pytest.mark.parametrize("sizes", [(6, 2), (2, 6), (1, 1), (2, 1), (1, 2), (9, 1, 1), (3, 3, 3)])
@pytest.mark.parametrize("seed", range(6))
def test_filaments_lie_whole_in_halves_of_which_none_is_empty(particles, sizes, seed):
    filament = np.repeat(np.arange(len(sizes)), sizes)
    drawn = with_count(particles, len(filament))
    half = assign_halves(replace(drawn, half=np.zeros(len(filament), np.int8)), seed, filament)
    assert [len(set(half[filament == number].tolist())) for number in range(len(sizes))] == [1] * len(sizes)
    assert set(half.tolist()) == {1, 2}
    assert abs(int((half == 1).sum()) - int((half == 2).sum())) <= max(sizes)


@pytest.mark.parametrize("shards", ["auto", 1, 3, 7, 500])
@pytest.mark.parametrize("count", [2, 9, 48])
def test_the_plan_cuts_every_half_into_whole_shards(particles, make_config, tmp_path, count, shards):
    given = with_count(particles, count)
    half = assign_halves(replace(given, half=np.zeros(count, np.int8)), 1)
    plan = plan_shards(given, half, make_config(tmp_path, compute={"shards_per_half": shards, "device": "cpu"}))
    rows = [plan["rows_half1"], plan["rows_half2"]]
    assert sorted(np.concatenate(rows).tolist()) == list(range(count))
    for number, mine in zip((1, 2), rows, strict=True):
        assert (half[mine] == number).all()
        order = given.stack_index[mine].astype(np.int64) * 10**6 + given.image_index[mine]
        assert (np.diff(order) >= 0).all()  # in the order of the stacks
        edges = plan[f"edges_half{number}"]
        sizes = np.diff(edges)
        assert (edges[0], edges[-1]) == (0, len(mine))
        assert sizes.min() >= 1
        assert sizes.max() - sizes.min() <= 1
        wanted = 4 if shards == "auto" else shards
        assert len(sizes) == min(wanted, len(mine))


def test_large_halves_have_more_shards(particles, make_config, tmp_path, monkeypatch):
    monkeypatch.setattr(planning, "PARTICLES_PER_SHARD", 3)
    config = make_config(tmp_path, compute={"device": "cpu"})
    plan = plan_shards(particles, np.repeat(np.array([1, 2], np.int8), 24), config)
    assert len(plan["edges_half1"]) == 8 + 1


def test_the_plan_does_not_depend_on_the_workers(particles, make_config, tmp_path):
    half = np.repeat(np.array([1, 2], np.int8), 24)
    plans = [
        plan_shards(particles, half, make_config(tmp_path, compute={"workers": workers, "device": device}))
        for workers, device in ((1, "cpu"), (16, "cuda:1"))
    ]
    for name in plans[0]:
        assert np.array_equal(plans[0][name], plans[1][name])


@pytest.mark.parametrize("seed", [0, 1, 7])
@pytest.mark.parametrize(("count", "n_folds"), [(4, 4), (50, 4), (101, 3)])
def test_folds_are_drawn_by_the_seed_and_of_one_size(count, n_folds, seed):
    fold = assign_folds(np.arange(count), n_folds, seed, Subset.ALL)
    sizes = np.bincount(fold, minlength=n_folds)
    assert len(sizes) == n_folds
    assert sizes.max() - sizes.min() <= 1
    assert np.array_equal(fold, assign_folds(np.arange(count), n_folds, seed, Subset.ALL))
    if count > 40:
        assert not np.array_equal(fold, assign_folds(np.arange(count), n_folds, seed + 1, Subset.ALL))
        assert not np.array_equal(fold, assign_folds(np.arange(count), n_folds, seed, Subset.FIRST))


def test_filaments_lie_in_one_fold_as_a_whole_and_fill_all_alike():
    """One filament of half of all segments, and many short ones."""
    group = np.concatenate([np.full(40, 7), np.repeat(np.arange(100, 120), 2)])
    for seed in range(5):
        fold = assign_folds(np.random.default_rng(seed).permutation(group), 4, seed, Subset.FIRST)
        assert sorted(np.bincount(fold).tolist())[:3] == [10, 10, 10]
        fold = assign_folds(group, 4, seed, Subset.FIRST)
        assert all(len(set(fold[group == one])) == 1 for one in set(group.tolist()))


def test_fewer_images_than_folds_are_told():
    with pytest.raises(
        BlushError, match=r"in half2(.|\n)*cannot be divided into 4 folds.*found 3 to draw from.*give at"
    ):
        assign_folds(np.array([5, 5, 8, 9, 9]), 4, 1, Subset.SECOND)


@pytest.mark.parametrize("shards", ["auto", 1, 6, 500])
@pytest.mark.parametrize("subsets", [HALVES, (Subset.ALL,)])
def test_a_shard_lies_in_one_fold(particles, make_config, tmp_path, monkeypatch, subsets, shards):
    monkeypatch.setattr(planning, "folds_of", lambda config: 4)
    monkeypatch.setattr(planning, "subsets_of", lambda config: subsets)
    config = make_config(tmp_path, compute={"shards_per_half": shards, "device": "cpu"})
    together = np.arange(48) // 2
    arrays = plan_shards(particles, np.repeat(np.array([1, 2], np.int8), 24), config, together)
    plan = Plan.of(arrays)
    assert (plan.subsets, plan.n_folds) == (subsets, 4)
    found, sizes = np.full(48, -1), []
    for subset in subsets:
        for shard in range(plan.n_shards(subset)):
            rows = plan.shard(subset, shard)
            assert (found[rows] == -1).all()
            found[rows] = 10 * subset + plan.fold(subset, shard)
            sizes.append(len(rows))
        assert plan.folds[plan.position(subset)].tolist() == sorted(plan.folds[plan.position(subset)])
        for fold in range(4):
            of_fold = [s for s in range(plan.n_shards(subset)) if plan.fold(subset, s) == fold]
            rows = np.concatenate([plan.shard(subset, s) for s in of_fold])
            assert len(rows) == 12 if subset is Subset.ALL else len(rows) == 6
            assert len(of_fold) == {"auto": 1, 1: 1, 6: 2, 500: len(rows)}[shards]
            assert (np.diff(particles.stack_index[rows] * 10**6 + particles.image_index[rows]) > 0).all()
    assert (found >= 0).all()
    assert np.array_equal(found[::2], found[1::2])  # what is drawn together
    assert largest_shard(arrays) == max(sizes)


def test_a_subset_that_a_run_does_not_have_is_told(particles, make_config, tmp_path):
    plan = Plan.of(plan_shards(particles, np.repeat(np.array([1, 2], np.int8), 24), make_config(tmp_path)))
    with pytest.raises(BlushError, match=r"is none of this run \(found all\); use one of half1, half2"):
        plan.n_shards(Subset.ALL)
