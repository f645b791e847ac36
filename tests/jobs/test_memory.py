"""`compute.memory_gb` against what the steps take: refused, warned of, or left alone."""

from dataclasses import replace

import pytest
import torch

from blush.cluster.devices import GpuMemory
from blush.config import RunConfig
from blush.errors import BlushError
from blush.geometry.healpix import pixel_directions
from blush.io.particles import ParticleSet, read_particles
from blush.jobs import gpu_memory, steps
from blush.jobs.memory import check_memory, maps_bytes, step_sizes


@pytest.fixture
def particles(simulated) -> ParticleSet:
    return read_particles(simulated / "particles.star")[0]


def of_box(particles: ParticleSet, box_px: int) -> ParticleSet:
    return replace(particles, optics=tuple(replace(group, box_px=box_px) for group in particles.optics))


def config(make_config, tmp_path, memory_gb: float, **compute) -> RunConfig:
    given = {"device": "cpu", "memory_gb": memory_gb} | compute
    return make_config(tmp_path, compute=given, sampling={}, particle_diameter_angst=1100.0)


@pytest.mark.parametrize(("box", "memory_gb"), [(32, 2.0), (64, 4.0), (128, 4.0), (200, 4.0), (256, 6.0)])
def test_enough_memory_is_not_spoken_of(box, memory_gb, make_config, particles, tmp_path):
    assert check_memory(config(make_config, tmp_path, memory_gb), of_box(particles, box), 2500) == []


@pytest.mark.parametrize(("box", "memory_gb"), [(256, 2.0), (512, 4.0), (32, 0.2)])
def test_a_step_that_cannot_run_is_refused_with_terms_and_remedy(box, memory_gb, make_config, particles, tmp_path):
    given = config(make_config, tmp_path, memory_gb)
    with pytest.raises(BlushError) as refused:
        check_memory(given, of_box(particles, box), 2500)
    text = str(refused.value)
    assert "compute.memory_gb: the expectation step with data to Nyquist" in text
    assert f"at a box of {box} px; in GB: process 0.29, transform" in text
    assert f"(found {memory_gb:g}); set it to " in text
    enough = float(text.split("set it to ")[1].split()[0])
    check_memory(config(make_config, tmp_path, enough), of_box(particles, box), 2500)  # the remedy is one


def test_what_only_the_maps_take_is_a_warning(make_config, particles, tmp_path):
    """On one machine the other workers are idle then."""
    (warning,) = check_memory(config(make_config, tmp_path, 4.0), of_box(particles, 256), 2500)
    assert "making the maps takes up to 5.3 GB at a box of 256 px" in str(warning)


def test_under_slurm_it_would_be_killed(make_config, particles, tmp_path):
    with pytest.raises(BlushError, match=r"making the maps takes up to 5\.3 GB"):
        check_memory(config(make_config, tmp_path, 4.0, pool="slurm"), of_box(particles, 256), 2500)


@pytest.fixture
def gpus(monkeypatch):
    """A machine with GPUs of so many free GB."""

    def have(*free_gb: float) -> None:
        found = [GpuMemory(f"GPU {n} (NVIDIA A10G)", int(free * 1e9), 24 * 10**9) for n, free in enumerate(free_gb)]
        monkeypatch.setattr(gpu_memory, "gpu_memory", lambda: found)

    return have


@pytest.mark.parametrize("compute", [{"device": "cuda"}, {"device": "cuda:1"}])
def test_a_gpu_that_cannot_hold_a_step_is_refused_by_name_with_figures(
    compute, gpus, make_config, particles, tmp_path
):  # fmt: skip
    given = config(make_config, tmp_path, 0.1, **compute)
    gpus(23.0, 20.0)
    assert check_memory(given, of_box(particles, 360), 2500) == []
    gpus(23.0, 16.0)
    with pytest.raises(BlushError) as refused:
        check_memory(given, of_box(particles, 360), 2500)
    text = str(refused.value)
    assert "GPU 1 (NVIDIA A10G) has 16.0 of 24.0 GB free" in text
    assert "making the maps takes 19.4 GB of a GPU at a box of 360 px" in text
    assert "set compute.device: cpu" in text
    assert check_memory(given, of_box(particles, 256), 2500) == []


def test_workers_that_share_a_gpu_share_its_memory(gpus, make_config, particles, tmp_path):
    gpus(23.0)
    with pytest.raises(BlushError, match="which 2 workers share"):
        check_memory(config(make_config, tmp_path, 4.0, device="cuda", workers=2), of_box(particles, 360), 2500)


@pytest.mark.parametrize("compute", [{"device": "cuda"}, {"device": "cuda:1"}, {"device": "auto", "pool": "attach",
                         "scheduler_file": "scheduler.json"}])  # fmt: skip
def test_the_memory_of_gpus_that_are_not_here_is_not_judged(compute, make_config, particles, tmp_path):
    assert check_memory(config(make_config, tmp_path, 0.1, **compute), of_box(particles, 512), 2500) == []


def test_small_shards_take_small_blocks(make_config, particles, tmp_path):
    given = config(make_config, tmp_path, 0.9)
    assert check_memory(given, of_box(particles, 64), 1) == []
    (warning,) = check_memory(given, of_box(particles, 64), 2500)
    assert "second pass" in str(warning)


def test_local_refinement_makes_no_global_search(make_config, particles, tmp_path):
    both = step_sizes(make_config(tmp_path), particles)
    assert [size.local for size in both] == [False, True]
    assert both[0].n_orientations == 72 * 8**3 // 8  # the last global order, in D4
    for change in ({"refinement": {"start_from": "poses"}}, {"sampling": {"healpix_order": 4}}):
        assert [size.local for size in step_sizes(make_config(tmp_path, **change), particles)] == [True]


def test_double_precision_takes_twice_the_maps():
    assert maps_bytes(64, 8) - maps_bytes(64, 4) == maps_bytes(64, 4) - maps_bytes(64, 0)
    assert torch.float64.itemsize == 8


def test_import_refuses_before_anything_is_written(make_config, tmp_path):
    given = make_config(tmp_path / "out", compute={"device": "cpu", "memory_gb": 0.1})
    with pytest.raises(BlushError, match=r"compute\.memory_gb: the expectation step"):
        steps.import_run(given)
    assert not (tmp_path / "out").exists()


def test_bodies_search_locally_and_hold_the_spheres_of_the_others(make_config, particles, tmp_path):
    """Complex numbers in a cube of half the transform, to 3 cells beyond Nyquist in padded space, for each of two."""
    bodies = [{"name": name, "mask": tmp_path / f"{name}.mrc"} for name in ("a", "b")]
    bodies.append({"name": "c", "mask": tmp_path / "c.mrc", "refine": False})
    given = make_config(tmp_path, job="multibody", symmetry="C1", multibody={"bodies": bodies})
    (size,) = step_sizes(given, of_box(particles, 200))
    alone = replace(size, others=0)
    assert (size.local, size.fixed) == (True, False)
    reach = 2 * 100 + 3
    each = 2 * 4 * (2 * reach + 1) ** 2 * (reach + 1)
    assert size.peak(8).volumes - alone.peak(8).volumes == 2 * each
    assert size.peak(8).transform - alone.peak(8).transform == 2 * each
    assert check_memory(given.model_copy(update={"compute": given.compute.model_copy(update={"memory_gb": 8})}),
                        of_box(particles, 200), 2500) == []  # fmt: skip


def test_segments_of_filaments_have_lists_of_their_own(make_config, particles, tmp_path):
    """Both polarities, in the band of tilt and the window of psi: at least what the prior itself lists at order 3."""
    helix = {"rise_angst": 21, "twist_deg": 37, "tube_diameter_angst": 100}
    given = make_config(tmp_path, job="helix", helix=helix, symmetry="C1", sampling={})
    wide, local = step_sizes(given, particles)
    assert (wide.lists, local.lists) == (2, 2)
    band = (pixel_directions(3)[1] - 90).abs() <= 15
    assert 2 * int(band.sum()) * 3 <= wide.n_orientations <= 4 * int(band.sum()) * 3
    assert wide.shifts == 3 * 5  # steps of 2 px of 6.5 Å in 21 Å, no fewer than three, and within 5 px across
    assert local.shifts == 5 * 5
