"""The truth checks tell a regulariser that is honest from one that is not."""

import json
import os
import shutil

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from blush.cli.main import app
from blush.config.regulariser import RegulariserSettings
from blush.errors import BlushError
from blush.fourier.filter import low_pass
from blush.fourier.fsc import fsc
from blush.fourier.mask import soft_sphere
from blush.io.files import load_npz, save_npz
from blush.io.mrc import map_stack
from blush.jobs import truth_checks
from blush.jobs.layout import RunFolder
from blush.jobs.sealed import written
from blush.jobs.truth_checks import (
    BOX_ANGST,
    SIZES,
    Finished,
    Size,
    by_chance,
    chance,
    check_maps,
    check_particles,
    deviations,
    evenness,
    noise_figures,
    replaced_by_noise,
)
from blush.refine.subset import Subset
from blush.regularise import select
from blush.regularise.base import Outcome, Regulariser
from blush.regularise.drive import Policy
from blush.regularise.map_checks import Check, Specimen, map_checks
from blush.regularise.red import Red
from blush.regularise.wiener import LowPass, Unregularised, Wiener

BOX, PIXEL = 32, 5.0


@pytest.fixture(scope="module")
def specimen():
    """Blobs well inside the box, of a spectrum that falls."""
    generator = torch.Generator().manual_seed(3)
    density = torch.rand(BOX, BOX, BOX, generator=generator) * soft_sphere(BOX, 9, 2)
    truth = low_pass(density, 12.0, PIXEL)
    return Specimen(truth / truth.std(), soft_sphere(BOX, 12, 3), PIXEL, 100.0)


def failed(regulariser, specimen, policy=None):
    """Letters of the checks that fail."""
    checks = list(map_checks(regulariser, specimen, policy or Policy()))
    assert {check.letter for check in checks} == {"c", "d", "e"}
    return {check.letter for check in checks if not check.passed}


HONEST = {
    "wiener": Wiener(),
    "none": Unregularised(),
    "lowpass": LowPass(),
    "red": Red(LowPass(), full_weight_angst=10.0, no_weight_angst=40.0),
}


@pytest.mark.parametrize("name", HONEST)
def test_what_only_filters_passes(name, specimen):
    assert failed(HONEST[name], specimen) == set()


class Changed(Regulariser):
    """Every reference goes through a function of map, half and number of the call."""

    name = "changed"

    def __init__(self, change):
        self.change, self.calls = change, 0

    def regularise(self, maps):
        self.calls += 1
        first, second = (self.change(maps.unregularised(half), half, self.calls) for half in (0, 1))
        return Outcome((first, second))


def ramp(volume):
    """1 on one side of the box, 1.3 on the other."""
    return torch.linspace(1.0, 1.3, volume.shape[0])[:, None, None].to(volume)


CHEATS = {
    "blurs what has no noise": ("c", lambda volume, half, n: low_pass(volume, 30.0, PIXEL)),
    "knows up from down": ("d", lambda volume, half, n: volume * ramp(volume)),
    "treats the halves apart": ("d", lambda volume, half, n: volume * (1 + 0.001 * half)),
    "differs from call to call": ("d", lambda volume, half, n: volume * (1 + 1e-6 * n)),
    "strengthens what it is given": ("e", lambda volume, half, n: 1.02 * volume),
    "drifts away from the truth": ("e", lambda volume, half, n: torch.roll(volume, 1, 0)),
}


@pytest.mark.parametrize("cheat", CHEATS)
def test_each_cheat_is_caught_by_the_check_that_is_for_it(cheat, specimen):
    letter, change = CHEATS[cheat]
    assert letter in failed(Changed(change), specimen)


def test_the_half_maps_of_the_checks_are_half_resolved(specimen):
    """FSC 0.5 near half of Nyquist, and each half is the truth and its noise."""
    maps = specimen.half_maps(1.0)
    assert 0.3 < maps.fsc[BOX // 4] < 0.7
    with_truth = fsc(maps.unregularised(0), specimen.truth).numpy()
    np.testing.assert_allclose(with_truth[3:10] ** 2, maps.fsc[3:10], atol=0.25)
    assert fsc(specimen.half_maps(1e-3).unregularised(1), specimen.truth)[1 : BOX // 3].min() > 0.999


def test_a_figure_that_is_no_number_fails():
    assert not Check("c", "x", float("nan"), 1.0).passed
    assert not Check("e", "x", float("nan"), 1.0, ">=").passed
    assert Check("a", "x", 7, 7, ">=").passed


def test_limits_are_those_of_chance():
    """Of independent noise with the symmetry of the demo's molecule, one figure in a thousand exceeds its limit."""
    assert deviations(1) == pytest.approx(3.0902, abs=1e-4)
    assert deviations(1000) == pytest.approx(4.7534, abs=1e-4)
    generator = torch.Generator().manual_seed(1)
    curves = []
    for _ in range(40):
        pair = [_d4(torch.randn(32, 32, 32, generator=generator)) for _ in range(2)]
        curves.append(fsc(*pair).numpy()[6:16])
    values = np.array(curves) / chance(np.arange(6, 16))
    assert abs(values.mean()) < 0.15
    assert 0.85 < values.std() < 1.15
    assert all(check.passed for check in by_chance("a", "noise", list(values)))


def _d4(volume):
    """Mean over the eight operators of D4, about the centre voxel."""
    inner = volume[1:, 1:, 1:]
    turned = [torch.rot90(inner, n, (1, 2)) for n in range(4)]
    turned += [torch.flip(one, (0, 1)) for one in turned]
    out = torch.zeros_like(volume)
    out[1:, 1:, 1:] = torch.stack(turned).mean(0)
    return out


def test_what_halves_have_in_common_is_more_than_chance():
    leak = np.full(6, 2.0)
    largest, mean = by_chance("a", "leak", [leak])
    assert (largest.passed, mean.passed) == (True, False)
    leak[2] = 9
    assert not next(iter(by_chance("a", "leak", [leak]))).passed
    assert all(check.passed for check in by_chance("a", "opposed", [-leak]))


def test_on_noise_a_method_is_judged_by_what_it_adds_to_wiener():
    """The shared start shows in both; a leak of the method alone is caught, in the halves and against the truth."""
    random = np.random.default_rng(5)

    def run(shell=6, halves=0.0, truth=0.0):
        start = np.where(np.arange(17) < 13, 5.0, 0.0)
        return Finished(shell, start + halves + random.normal(size=17), start + truth + random.normal(size=17))

    def failing(*runs):
        checks = list(noise_figures(runs, [run() for _ in runs]))
        assert len(checks) == 5
        return [check.what for check in checks if not check.passed]

    assert failing(run(), run(), run()) == []
    assert [name for name in failing(*[run(halves=2.0)] * 3) if "halves" in name]
    assert [name for name in failing(*[run(truth=2.0)] * 3) if "truth" in name]
    assert failing(*[run(shell=8)] * 3)[0].startswith("nothing but noise: mean reported shell")


def test_wiener_itself_is_judged_by_chance_alone():
    runs = [Finished(6, np.full(17, 0.1), np.full(17, 0.1))] * 3
    assert all(check.passed for check in noise_figures(runs, []))
    leaking = [Finished(6, np.full(17, 2.0), np.full(17, 0.1))] * 3
    assert sum(not check.passed for check in noise_figures(leaking, [])) == 1


def _replace_sums(run, iteration, half, arrays):
    """Write sums as the run itself does, with its seal."""
    with written(run, run.sums(iteration, Subset(half))) as beside:
        save_npz(beside, arrays)


def test_directions_seen_seldom_leave_fewer_coefficients(finished, tmp_path):
    """Half of the cells with a hundredth of the weight: <a><b>/<ab> of a two-valued variance, by hand."""
    run = RunFolder(shutil.copytree(finished, tmp_path / "run"))
    last = max(int(path.parent.name[2:]) for path in run.root.glob("it*/half1_sums.npz"))
    for half in (1, 2):
        sums = load_npz(run.sums(last, Subset(half)))
        grid = np.zeros_like(sums["grid_001"])
        middle = grid.shape[0] // 2
        grid[..., 2] = 1
        grid[middle + 1 :, ..., 2] = 0.01
        _replace_sums(run, last, half, {"grid_001": grid, "r_max": sums["r_max"]})
    share = evenness(run.root)[6:14]
    np.testing.assert_allclose(share, 50.5**2 / 5000.5, rtol=0.1)
    for half in (1, 2):
        _replace_sums(run, last, half, {"grid_001": np.ones_like(grid), "r_max": sums["r_max"]})
    np.testing.assert_allclose(evenness(run.root), 1, rtol=1e-6)


def test_images_of_noise_have_nothing_of_the_particles(simulated, tmp_path):
    first, second = (replaced_by_noise(simulated, tmp_path / f"noise{n}", n) for n in (1, 2))
    assert first.read_bytes() == (simulated / "particles.star").read_bytes()
    names = sorted(path.name for path in (simulated / "stacks").iterdir())
    for name in names:
        noise = [map_stack(star.parent / "stacks" / name) for star in (first, second)]
        images = map_stack(simulated / "stacks" / name)
        for one, other in ((noise[0], images), (noise[1], images), (noise[0], noise[1])):
            assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 5 / np.sqrt(one.size)
        assert noise[0].std() == pytest.approx(1, abs=0.02)


def run_command(*arguments):
    return CliRunner().invoke(app, ["check-regulariser", *map(str, arguments)])


def test_the_command_says_pass_or_fail_and_writes_the_figures(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(truth_checks.SIZES, "small", Size(48, 32, 32))
    good = run_command("wiener", "--maps")
    assert good.exit_code == 0, good.output
    assert good.stdout.count("pass") == 10
    content = json.loads((tmp_path / "check_wiener.json").read_text())
    assert content["passed"]
    assert len(content["checks"]) == 10
    monkeypatch.setitem(select.MAKERS, "none", lambda _: Changed(lambda volume, half, n: 1.02 * volume))
    select.regulariser.cache_clear()
    try:
        bad = run_command("none", "--maps", "--json", tmp_path / "bad.json")
    finally:
        select.regulariser.cache_clear()
    assert bad.exit_code == 1
    assert "FAIL" in bad.stdout
    assert not json.loads((tmp_path / "bad.json").read_text())["passed"]
    assert sorted(os.listdir(tmp_path)) == ["bad.json", "check_wiener.json"]  # the work is not left behind


def test_mistakes_are_told(tmp_path):
    for arguments, said in (
        ((), "which regulariser is not said"),
        (("cref",), "needs regulariser.cref.weights; give its settings by --config"),
        (("wiener", "--size", "huge"), "there is no size huge; known are small, medium"),
        (("wiener", "--keep", tmp_path), "exists already; name a new folder"),
    ):
        result = run_command(*arguments)
        assert isinstance(result.exception, BlushError)
        assert said in str(result.exception)


def test_the_settings_of_a_configuration_are_checked(tmp_path, monkeypatch):
    """Its regulariser, with its section and trailing, and nothing else of it."""
    path = tmp_path / "my.yaml"
    path.write_text(
        "name: mine\nparticles: none.star\nreference: none.mrc\nparticle_diameter_angst: 99\n"
        "regulariser: {name: lowpass, lowpass: {resolution_angst: 30}}\ntrailing: {shells: 4}\n"
    )
    asked = []

    def watched(settings, trailing_shells, *_):
        asked.append((settings.name, settings.lowpass.resolution_angst, trailing_shells))
        return iter([Check("c", "x", 0.0, 1.0)])

    monkeypatch.setattr(truth_checks, "check_maps", watched)
    monkeypatch.chdir(tmp_path)
    assert run_command("--config", path, "--maps").exit_code == 0
    assert asked == [("lowpass", 30.0, 4)]


@pytest.mark.parametrize("name", ["wiener", "none", "lowpass"])
def test_the_molecule_of_the_demo_is_left_alone(name, tmp_path):
    checks = list(check_maps(RegulariserSettings(name=name), 2, SIZES["small"], tmp_path, "cpu"))
    assert [check.what for check in checks if not check.passed] == []
    assert round(BOX_ANGST / SIZES["small"].map_box_px, 3) == 3.5


@pytest.fixture(scope="module")
def noise_by_wiener():
    """Refinements of noise by Wiener: what another method on the same images is held against, made once."""
    return []


@pytest.fixture
def particle_checks(noise_by_wiener, tmp_path, monkeypatch):
    """Checks (a) and (b) of a method by its name; noise is refined from one of the three seeds."""
    monkeypatch.setattr(truth_checks, "NOISE_SEEDS", (1,))
    made = truth_checks._Particles._noise_runs

    def noise_runs(self, settings):
        if settings.name != "wiener":
            return made(self, settings)
        if not noise_by_wiener:
            noise_by_wiener.extend(made(self, settings))
        return noise_by_wiener

    monkeypatch.setattr(truth_checks._Particles, "_noise_runs", noise_runs)

    def check(name):
        return list(check_particles(RegulariserSettings(name=name), 2, SIZES["small"], tmp_path, lambda _: None))

    return check


@pytest.mark.slow
@pytest.mark.parametrize("name", ["wiener", "none"])
def test_particles_refined_by_plain_filters_show_nothing_false(name, particle_checks):
    checks = particle_checks(name)
    assert {check.letter for check in checks} == {"a", "b"}
    assert [check for check in checks if not check.passed] == []


class Mixed(Regulariser):
    """Gives both halves their mean, and says that it shares nothing."""

    name = "none"
    trails = False

    def regularise(self, maps):
        mean = (maps.unregularised(0) + maps.unregularised(1)) / 2
        return Outcome((mean, mean))


@pytest.mark.slow
def test_a_regulariser_that_mixes_the_halves_is_caught_by_the_particles(particle_checks, monkeypatch):
    monkeypatch.setitem(select.MAKERS, "none", lambda _: Mixed())
    select.regulariser.cache_clear()
    try:
        checks = particle_checks("none")
    finally:
        select.regulariser.cache_clear()
    assert {check.letter for check in checks if not check.passed} == {"a", "b"}
