"""What is frozen at import: halves, shards, maps and the identity of a run."""

import json
import shutil

import numpy as np
import pytest

from blush.config import RunConfig
from blush.errors import BlushError
from blush.io.files import read_json
from blush.io.mrc import read_volume, write_volume
from blush.io.star import read_star
from blush.jobs import importing, steps
from blush.jobs.importing import identity
from blush.jobs.inputs import read_config, read_frozen_particles, read_plan


def test_import_freezes_what_the_run_needs(make_config, tmp_path):
    config = make_config(tmp_path)
    assert steps.import_run(config).exists()
    run = config.run_dir
    assert read_config(run) == config
    frozen, plan = read_frozen_particles(run), read_plan(run)
    assert len(frozen) == 48
    assert plan.n_shards(1) == plan.n_shards(2) == steps.shards(run, 1) == 3
    assert np.array_equal(np.concatenate([plan.shard(2, s) for s in range(3)]), plan.rows[1])
    assert (frozen.half[plan.rows[0]] == 1).all()
    assert plan.operators.shape == (8, 3, 3)
    table = read_star(run / "import" / "particles.star")["particles"]
    assert table["rlnRandomSubset"].tolist() == frozen.half.tolist()


def test_a_reference_of_another_box_and_pixel_size_is_resampled(make_config, simulated, tmp_path):
    volume, _ = read_volume(simulated / "reference.mrc")
    write_volume(tmp_path / "other.mrc", np.pad(volume, 4), 6.5)
    config = make_config(tmp_path, reference=tmp_path / "other.mrc")
    steps.import_run(config)
    imported, pixel = read_volume(config.run_dir / "import" / "reference.mrc")
    assert imported.shape == (32, 32, 32)
    assert pixel == pytest.approx(6.5, rel=1e-6)
    np.testing.assert_allclose(imported, volume, atol=1e-4 * np.abs(volume).max())


def test_nothing_is_written_when_an_input_is_wrong(make_config, tmp_path):
    config = make_config(tmp_path / "out", particle_diameter_angst=1e4)
    with pytest.raises(BlushError, match="particle is wider than its box"):
        steps.import_run(config)
    assert not (tmp_path / "out").exists()


DECISIVE = [
    {"symmetry": "C1"},
    {"seed": 2},
    {"particle_diameter_angst": 171},
    {"mask": "sphere"},
    {"initial_lowpass_angst": 41},
    {"trailing": {"shells": 3}},
    {"regulariser": {"name": "none"}},
    {"regulariser": {"starts": "local"}},
    {"sampling": {"healpix_order": 2}},
    {"refinement": {"solvent_correct_fsc": False}},
    {"compute": {"device": "cpu", "memory_gb": 1, "shards_per_half": 4}},
    {"compute": {"device": "cpu", "memory_gb": 1, "shards_per_half": 3, "precision": "float64"}},
    {"compute": {"device": "cpu", "memory_gb": 1, "shards_per_half": 3, "kernels": "torch"}},
]
FREE = [
    {"regulariser": {"nonuniform": {"awf": 4}, "blush": {"stride_px": 32}}},  # not the one that is used
    {"refinement": {"max_iterations": 9}},
    {"refinement": {"keep_iterations": 1, "max_iterations": 3}},
    {"postprocess": {"adhoc_bfactor_angst2": -50}},
    {"compute": {"device": "cpu", "memory_gb": 1, "shards_per_half": 3, "workers": 2}},
]


def as_id(change: dict) -> str:
    return json.dumps(change).replace(" ", "")


@pytest.mark.parametrize("change", DECISIVE, ids=as_id)
def test_what_decides_the_result_is_part_of_the_identity(change, make_config, particles, tmp_path):
    first, second = (identity(config, particles) for config in (make_config(tmp_path), make_config(tmp_path, **change)))
    assert len([key for key in first if first[key] != second[key]]) == 1


@pytest.mark.parametrize("change", FREE, ids=as_id)
def test_what_does_not_is_not(change, make_config, particles, tmp_path):
    assert identity(make_config(tmp_path), particles) == identity(make_config(tmp_path, **change), particles)


def test_weights_count_by_their_content(make_config, particles, tmp_path):
    same, other = (tmp_path / name for name in ("a.safetensors", "b.safetensors"))
    for path, content in ((tmp_path / "w.safetensors", b"one"), (same, b"one"), (other, b"two")):
        path.write_bytes(content)
    ids = [
        identity(make_config(tmp_path, regulariser={"name": "cref", "cref": {"weights": path}}), particles)
        for path in (tmp_path / "w.safetensors", same, other)
    ]
    assert ids[0] == ids[1]
    assert [key for key in ids[0] if ids[0][key] != ids[2][key]] == ["regulariser"]


def test_weights_that_are_not_there_are_named_at_once(make_config, particles, tmp_path):
    config = make_config(tmp_path, regulariser={"name": "blush", "blush": {"weights": tmp_path / "none.safetensors"}})
    with pytest.raises(
        BlushError, match=r"(?s)weights cannot be read.*none\.safetensors, regulariser: file does not exist"
    ):
        identity(config, particles)


def test_damaged_weights_stop_the_import_beside_other_mistakes(make_config, tmp_path):
    path = tmp_path / "w.safetensors"
    path.write_bytes(b"not weights")
    config = make_config(
        tmp_path / "out", regulariser={"name": "blush", "blush": {"weights": path}}, particle_diameter_angst=1e4
    )
    with pytest.raises(BlushError, match=r"(?s)2 problem\(s\).*particle is wider than its box.*w\.safetensors"):
        steps.import_run(config)
    assert not (tmp_path / "out").exists()


def test_input_files_count_by_their_content(make_config, particles, simulated, tmp_path):
    same, other = tmp_path / "same.mrc", tmp_path / "other.mrc"
    shutil.copy(simulated / "reference.mrc", same)
    volume, pixel = read_volume(simulated / "reference.mrc")
    write_volume(other, 2 * volume, pixel)
    first, second, third = (
        identity(config, particles)
        for config in (make_config(tmp_path), *(make_config(tmp_path, reference=p) for p in (same, other)))
    )
    assert first == second
    assert first["reference"] != third["reference"]


def started(config: RunConfig) -> RunConfig:
    steps.import_run(config)
    steps.start(config.run_dir)
    return config


def test_a_started_run_is_not_continued_with_other_settings(make_config, tmp_path, digests):
    config = started(make_config(tmp_path))
    before = digests(config.run_dir)
    with pytest.raises(BlushError, match=r"(?s)other.*symmetry.*was .*D4.*now .*C1.*another `name`"):
        steps.import_run(make_config(tmp_path, symmetry="C1"))
    assert digests(config.run_dir) == before
    volume, pixel = read_volume(config.reference)
    write_volume(tmp_path / "other.mrc", 2 * volume, pixel)
    with pytest.raises(BlushError, match=r"(?s)other inputs or settings.*reference"):
        steps.import_run(make_config(tmp_path, reference=tmp_path / "other.mrc"))
    assert digests(config.run_dir) == before


def test_a_started_run_takes_up_free_settings(make_config, tmp_path):
    config = started(make_config(tmp_path))
    more = make_config(tmp_path, refinement={"max_iterations": 17})
    steps.import_run(more)
    assert read_config(config.run_dir).refinement.max_iterations == 17
    assert steps.latest_state(config.run_dir).iteration == 0


def test_before_the_start_settings_may_change(make_config, tmp_path):
    """And this process, which has read the first ones, sees the second."""
    config = make_config(tmp_path)
    steps.import_run(config)
    assert read_plan(config.run_dir).operators.shape[0] == 8
    other = make_config(tmp_path, symmetry="C2", compute={"device": "cpu", "shards_per_half": 2})
    steps.import_run(other)
    assert read_config(config.run_dir) == other
    assert read_plan(config.run_dir).operators.shape[0] == 2
    assert steps.shards(config.run_dir, 1) == 2
    assert read_json(config.run_dir / ".identity.json")["symmetry"] == '"C2"'


def test_a_folder_that_is_no_run_is_named(tmp_path):
    with pytest.raises(BlushError, match=r"(?s)not an imported run.*blush import"):
        read_config(tmp_path)


def test_a_stated_pixel_size_stands_for_the_header(tmp_path):
    volume = np.random.default_rng(1).standard_normal((16, 16, 16)).astype(np.float32)
    write_volume(tmp_path / "given.mrc", volume, 1.0)
    importing._import_map(tmp_path / "given.mrc", tmp_path / "imported.mrc", 16, 6.5, 6.5)
    array, pixel_size_angst = read_volume(tmp_path / "imported.mrc")
    np.testing.assert_array_equal(array, volume)
    assert pixel_size_angst == pytest.approx(6.5)
