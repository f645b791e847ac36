"""A run that was interrupted anywhere goes on to the same bytes; a finished one has all its files."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from blush.errors import BlushError
from blush.io.files import load_npz, read_json, write_json
from blush.io.mrc import read_volume, write_volume
from blush.jobs import steps
from blush.jobs.autorefine import iterate
from blush.jobs.layout import RunFolder
from blush.jobs.sealed import written
from blush.jobs.shards import missing_shards, shard_key
from blush.refine.state import load_state
from blush.refine.subset import Subset

LAST = 3


def run_to(run: Path, last: int) -> None:
    steps.start(run)
    state = steps.latest_state(run)
    while state is not None and state.iteration < last:
        state = iterate(run, state.iteration + 1)


def delete(run: Path, *patterns: str) -> None:
    """Remove files; each pattern must match."""
    for pattern in patterns:
        matches = list(run.glob(pattern))
        assert matches, pattern
        for path in matches:
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def replace_reference(folder: RunFolder, volume: np.ndarray, pixel_size_angst: float) -> None:
    """Another reference of half 1 after iteration 1, written as the run writes it."""
    with written(folder, folder.map(1, Subset.FIRST, "reference")) as beside:
        write_volume(beside, volume, pixel_size_angst)


INTERRUPTIONS = {
    "state alone": ["it002/state.json", "it003"],
    "maps and state": ["it002/state.json", "it002/maps.npz", "run_it002_half1_class001.mrc", "it003"],
    "sums of one half": ["it002/state.json", "it002/maps.npz", "it002/half2_sums.npz", "it003"],
    "statistics of one half": ["it002/state.json", "it002/maps.npz", "it002/half1_statistics.npz", "it003"],
    "two iterations": ["it002", "it003", "run_it002_*"],
    "from the start": ["it00[0-3]", "run_it00*", "run_class001.mrc", "run_half?_class001_unfil.mrc", "run_data.star"],
    "last maps": ["it003/maps.npz", "it003/state.json", "run_class001.mrc", "run_half1_class001_unfil.mrc"],
    "tables of the end": ["it003/state.json", "run_data.star", "run_half2_model.star"],
}


@pytest.mark.parametrize("interruption", INTERRUPTIONS)
def test_an_interrupted_run_goes_on_to_the_same_bytes(interruption, run, finished, digests):
    delete(run, *INTERRUPTIONS[interruption])
    assert digests(run) != digests(finished)
    run_to(run, LAST)
    assert digests(run) == digests(finished)


def test_shards_that_are_done_are_not_done_again(run, finished, digests):
    delete(run, "it002", "it003", "run_it002_*")
    done = steps.expectation_shard(run, 2, 1, 1)
    time = done.stat().st_mtime_ns
    assert missing_shards(run, 2, Subset.FIRST) == [0, 2]
    assert steps.expectation_shard(run, 2, 1, 1) == done
    assert done.stat().st_mtime_ns == time
    run_to(run, LAST)
    assert digests(run) == digests(finished)


def test_the_shard_of_another_reference_is_never_summed(run):
    """Its name carries the digest of what it was made from."""
    delete(run, "it002", "it003", "run_it002_*")
    folder = RunFolder(run)
    for shard in range(3):
        steps.expectation_shard(run, 2, 1, shard)
    state = load_state(folder.state(1))
    key = shard_key(folder, state, Subset.FIRST, 0)
    volume, pixel = read_volume(folder.map(1, Subset.FIRST, "reference"))
    replace_reference(folder, volume * 1.01, pixel)
    assert shard_key(folder, state, Subset.FIRST, 0) != key
    assert missing_shards(run, 2, Subset.FIRST) == [0, 1, 2]
    with pytest.raises(BlushError, match=r"half1_sums.npz: .*lacks 3 of 3 shards"):
        steps.reduce_subset(run, 2, 1)


def test_a_process_that_stays_uses_the_reference_of_now(run):
    """Workers outlive a run; slices kept from an earlier one must not serve the next (same folder, same numbers)."""
    delete(run, "it002", "it003", "run_it002_*")
    folder = RunFolder(run)
    volume, pixel = read_volume(folder.map(1, Subset.FIRST, "reference"))
    first = load_npz(steps.expectation_shard(run, 2, 1, 0))
    replace_reference(folder, volume[::-1].copy(), pixel)
    second = load_npz(steps.expectation_shard(run, 2, 1, 0))
    assert not np.array_equal(first["grid_001"], second["grid_001"])
    replace_reference(folder, volume, pixel)
    delete(run, "it002/half1_shard0000_*.npz")
    again = load_npz(steps.expectation_shard(run, 2, 1, 0))
    assert np.array_equal(first["grid_001"], again["grid_001"])


def test_a_run_does_not_depend_on_its_folder(make_config, finished, tmp_path, digests):
    """The same inputs and settings elsewhere: the same bytes, apart from the frozen configuration."""
    config = make_config(
        tmp_path / "elsewhere", name="other", refinement={"max_iterations": LAST, "keep_iterations": 9}
    )
    steps.import_run(config)
    run_to(config.run_dir, LAST)
    one, two = digests(finished), digests(config.run_dir)
    different = {name for name in one.keys() | two.keys() if one.get(name) != two.get(name)}
    assert different <= {"import/config.json", "settings.json"}


def test_the_last_iteration_leaves_everything(finished):
    """One that stopped by number: the state says so, and the joined maps and tables are there."""
    state = load_state(RunFolder(finished).state(LAST))
    assert (state.iteration, state.final, state.converged, state.stop_reason) == (LAST, True, True, "max_iterations")
    expected = {
        "run_class001.mrc", "run_half1_class001_unfil.mrc", "run_half2_class001_unfil.mrc", "run_data.star",
        "run_model.star", "run_sampling.star", "run_optimiser.star", "run_half1_model.star", "run_half2_model.star",
    }  # fmt: skip
    missing = {name for name in expected if not (finished / name).exists()}
    assert missing - {"run_model.star"} == set() or missing == {"run_half1_model.star", "run_half2_model.star"}
    for name in ("run_class001.mrc", "run_half1_class001_unfil.mrc"):
        volume, pixel = read_volume(finished / name)
        assert volume.shape == (32, 32, 32)
        assert pixel == pytest.approx(6.5, rel=1e-6)
        assert volume.std() > 0
    assert state.search.current_size_px == 32  # to Nyquist


def test_iterations_before_the_last_use_less_than_all_data(finished):
    states = [load_state(RunFolder(finished).state(n)) for n in range(LAST)]
    assert [state.final for state in states] == [False] * (LAST - 1) + [True]
    assert [state.search.first_cc for state in states] == [True] + [False] * (LAST - 1)
    assert not any(state.converged for state in states)


def test_shards_are_removed_once_their_iteration_is_done(finished):
    assert list(finished.glob("it*/half*_shard*.npz")) == []


def test_old_sums_and_references_are_removed(make_config, tmp_path):
    config = make_config(tmp_path, refinement={"max_iterations": LAST, "keep_iterations": 1})
    steps.import_run(config)
    run_to(config.run_dir, LAST)
    folder = RunFolder(config.run_dir)
    for number in (1, 2):
        assert not folder.sums(number, Subset.FIRST).exists()
        assert not folder.map(number, Subset.SECOND, "reference").exists()
        assert folder.state(number).exists()
    assert folder.sums(LAST, Subset.FIRST).exists()


def test_accuracies_are_measured_once_a_likelihood_is(finished):
    first, second = (load_state(RunFolder(finished).state(number)) for number in (1, 2))
    assert first.references.accuracy_rotation_deg == (None,)
    assert 0 < second.references.accuracy_rotation_deg[0] <= 30
    assert 0 < second.references.accuracy_offset_angst[0] <= 10 * 6.5


def test_progress_is_logged_line_by_line(finished):
    lines = [json.loads(line) for line in (finished / "progress.jsonl").read_text().splitlines()]
    stages = {line["stage"] for line in lines}
    assert {"start", "expectation", "shard", "reduce", "denoise_and_trail", "converge"} <= stages
    counted = [line["done"] for line in lines if line["stage"] == "shard" and line["iteration"] == 2]
    assert sum(counted) == 48


def test_a_state_of_another_version_is_refused(run):
    folder = RunFolder(run)
    changed = read_json(folder.state(LAST)) | {"algorithm_version": 999}
    with written(folder, folder.state(LAST)) as beside:
        write_json(beside, changed)
    with pytest.raises(BlushError, match=r"(?s)algorithm version 999.*delete this iteration's folder"):
        steps.latest_state(run)


@pytest.mark.parametrize("name", ["run_it001_half1_class001.mrc", "it001/poses.npz"])
def test_a_file_that_an_iteration_starts_from_is_named_when_it_is_gone(name, run):
    delete(run, name, "it002", "it003")
    with pytest.raises(BlushError, match=rf"(?s){Path(name).name}: is missing; run the same command again"):
        missing_shards(run, 2, Subset.FIRST)


def test_iterations_write_tables_only_where_they_are_asked_for(run):
    """At 10^6 particles the table is most of what `converge` takes; the next iteration needs none of it."""
    assert list(run.glob("run_it*.star")) == []
    assert (run / "run_data.star").exists()
    config = read_json(run / "import/config.json")
    with written(RunFolder(run), run / "import/config.json") as beside:
        write_json(beside, config | {"refinement": config["refinement"] | {"iteration_tables": True}})
    delete(run, "it002/state.json", "it003")
    steps.converge(run, 2)
    tables = {"data", "half1_model", "half2_model", "model", "optimiser", "sampling"}
    assert {path.name for path in run.glob("run_it*.star")} == {f"run_it002_{table}.star" for table in tables}
