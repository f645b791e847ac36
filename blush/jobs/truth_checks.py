"""The five truth checks of a regulariser, on simulated particles and maps whose truth is known.

(a) Particles without signal beyond a resolution, (b) images of nothing but noise; and on maps (c) identity, (d)
equivariance and determinism, (e) recursion: `blush.regularise.map_checks`. Limits are those of chance, so that a right
method fails one in a thousand times.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from shutil import copyfile
from statistics import NormalDist
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from blush.config import RunConfig
from blush.config.regulariser import RegulariserSettings
from blush.fourier.fsc import fsc
from blush.io.files import read_record
from blush.io.mrc import map_stack, read_volume, write_stack
from blush.jobs.autorefine import autorefine
from blush.jobs.inputs import environment, latest_state
from blush.jobs.layout import RunFolder
from blush.jobs.reduce import load_sums
from blush.maximization.reconstruct import WEIGHT_FLOOR
from blush.maximization.spectra import radial_average, shells_of_cells
from blush.refine.subset import HALVES
from blush.regularise.drive import Policy
from blush.regularise.map_checks import Check, Letter, Specimen, map_checks
from blush.regularise.select import regulariser
from blush.simulate.particle import build_particle
from blush.simulate.particle_set import simulate
from blush.simulate.settings import SimulateConfig
from blush.validate.randomise_particles import randomise_particles

Floats = NDArray[np.float64]
Say = Callable[[str], None]
DIAMETER_ANGST, BOX_ANGST = 150.0, 168.0
SNR = 0.5
LAST_SIGNAL = 8
"""Shell beyond which phases are random: 21 Å."""
OUT_OF_REACH = 3
"""Shells that masks and interpolation carry signal over a border; from there on only chance is left."""
REFERENCE = 4
"""Last shell of the first reference, which is filtered at 40 Å."""
SHARED = 11
"""Last shell that noise refined by Wiener is known to share between halves (tests/truth): both started from one
reference, share its lowest resolutions by design, and the mask's edge carries these on."""
NOISE_SEEDS = (1, 2, 3)
FALSE_ALARMS = 1e-3
"""Probability that chance alone fails a right method, per figure."""
GROUP_ORDER = 8
"""Of D4, the demo molecule's: as many coefficients of a shell are one."""


@dataclass(frozen=True)
class Size:
    """How large the simulated sets are; the box is always 168 Å wide, so shells mean the same."""

    particles: int
    box_px: int
    map_box_px: int


SIZES = {"small": Size(200, 32, 48), "medium": Size(400, 48, 64)}


def chance(shell: Floats) -> Floats:
    """Standard deviation of the FSC of independent noise of D4, by shell.

    A shell of radius s has 4 pi s^2 coefficients, half of them complex and independent, an eighth of those by
    symmetry; the real part of a correlation of n complex numbers has variance 1 / 2n.
    """
    return np.sqrt(GROUP_ORDER / (4 * np.pi * np.asarray(shell, dtype=float) ** 2))


def deviations(tests: int) -> float:
    """Standard deviations that the largest of so many chance values exceeds with probability `FALSE_ALARMS`."""
    return NormalDist().inv_cdf(1 - FALSE_ALARMS / tests)


@dataclass(frozen=True)
class Finished:
    """A refinement of a set and what is compared of it.

    Attributes
    ----------
    halves, truth
        FSC of the unregularised halves, and of their mean with the truth, in standard deviations of chance.
    """

    reported_shell: int
    halves: Floats
    truth: Floats


def check_maps(
    settings: RegulariserSettings, trailing_shells: int | None, size: Size, scratch: Path, device: str = "auto"
) -> Iterator[Check]:
    """The checks (c), (d), (e): seconds."""
    given: dict[str, Any] = {"name": "maps", "particles": scratch, "reference": scratch, "compute": {"device": device}}
    where, _ = environment(RunConfig.model_validate(given | {"particle_diameter_angst": DIAMETER_ANGST}))
    particle = build_particle(_simulation(size.map_box_px, 1, scratch))
    truth = particle.volume()
    specimen = Specimen(
        (truth / truth.std()).float().to(where),
        particle.mask.to(where),
        BOX_ANGST / size.map_box_px,
        DIAMETER_ANGST,
    )
    yield from map_checks(regulariser(settings), specimen, Policy(trailing_shells=trailing_shells), scratch / "maps")


def _simulation(box_px: int, particles: int, output: Path) -> SimulateConfig:
    """The demo's molecule, Rubisco (D4)."""
    content = {
        "imaging": {"n_particles": particles, "box_px": box_px, "pixel_size_angst": BOX_ANGST / box_px},
        "noise": {"snr": SNR},
        "particle_diameter_angst": DIAMETER_ANGST,
        "output": output,
    }
    return SimulateConfig.model_validate(content)


def check_particles(
    settings: RegulariserSettings, trailing_shells: int, size: Size, folder: Path, say: Say
) -> Iterator[Check]:
    """The checks (a) and (b): minutes, as ten small refinements.

    Parameters
    ----------
    folder
        Empty; gets the sets and the runs. What lies there already is never taken for a result of this code.
    say
        Is told what is being done.
    """
    say(f"simulating {size.particles} particles of {size.box_px} px")
    truth = folder / "set"
    simulate(_simulation(size.box_px, size.particles, truth))
    check = _Particles(settings, trailing_shells, truth, folder, say)
    yield from check.randomised()
    yield from check.noise()


@dataclass(frozen=True)
class _Particles:
    """Refinements of one simulated set by one regulariser."""

    settings: RegulariserSettings
    trailing_shells: int
    truth: Path
    folder: Path
    say: Say

    def randomised(self) -> Iterator[Check]:
        """(a): no resolution where there is no signal."""
        beyond_angst = BOX_ANGST / LAST_SIGNAL
        star = randomise_particles(self.truth / "particles.star", self.folder / "randomised", beyond_angst, seed=7)
        trails = regulariser(self.settings).trails
        for trailing in (True, False) if trails else (True,):
            mode = f"trailing {'on' if trailing else 'off'}" if trails else "no trailing"
            self.say(f"(a) refining particles with random phases beyond {beyond_angst:g} Å, {mode}")
            run = self._refine(star, f"randomised_{'on' if trailing else 'off'}", self.settings, trailing=trailing)
            what = f"random phases beyond shell {LAST_SIGNAL}, {mode}"
            yield Check("a", f"{what}: reported shell", run.reported_shell, LAST_SIGNAL + 1)
            yield Check("a", f"{what}: the signal is found", run.reported_shell, LAST_SIGNAL - 1, ">=")
            first = LAST_SIGNAL + OUT_OF_REACH
            yield from by_chance("a", f"{what}: halves", [run.halves[first:]])
            yield from by_chance("a", f"{what}: map and truth", [run.truth[first:]])

    def noise(self) -> Iterator[Check]:
        """(b): images of noise give back the first reference, and no more of it than with Wiener."""
        runs = self._noise_runs(self.settings)
        usual = [] if self.settings.name == "wiener" else self._noise_runs(RegulariserSettings(name="wiener"))
        yield from noise_figures(runs, usual)

    def _noise_runs(self, settings: RegulariserSettings) -> list[Finished]:
        """Other images and another seed each time, so that the runs are independent."""
        runs = []
        for seed in NOISE_SEEDS:
            self.say(f"(b) refining images of noise with {settings.name}, set {seed} of {len(NOISE_SEEDS)}")
            star = self.folder / f"noise{seed}" / "particles.star"
            if not star.exists():
                replaced_by_noise(self.truth, star.parent, seed)
            runs.append(self._refine(star, f"noise{seed}_{settings.name}", settings, trailing=True, seed=seed))
        return runs

    def _refine(
        self, star: Path, name: str, settings: RegulariserSettings, *, trailing: bool, seed: int = 1
    ) -> Finished:
        """One refinement, flattened by a sphere so that the regulariser alone can shape its references."""
        content: dict[str, Any] = {
            "name": name,
            "particles": star,
            "reference": self.truth / "reference.mrc",
            "mask": "sphere",
            "particle_diameter_angst": DIAMETER_ANGST,
            "symmetry": "D4",
            "regulariser": settings,
            "trailing": {"enabled": trailing, "shells": self.trailing_shells},
            "compute": {"shards_per_half": 3},
            "seed": seed,
            "output": self.folder / "runs",
        }
        return finished(autorefine(RunConfig.model_validate(content)), self.truth)


def finished(run: Path, truth: Path) -> Finished:
    """What a refinement reported, and its unregularised maps against each other and against the truth."""
    first, second = (torch.from_numpy(read_volume(RunFolder(run).map(None, half, "unfiltered"))[0]) for half in HALVES)
    true = torch.from_numpy(read_volume(truth / "true_map.mrc")[0])
    resolution = read_record(run / "summary.json", members=("resolution_angst",))["resolution_angst"]
    shells = np.maximum(np.arange(first.shape[0] // 2 + 1, dtype=float), 1)
    return Finished(
        reported_shell=0 if resolution is None else round(BOX_ANGST / resolution),
        halves=fsc(first, second).numpy() / chance(shells) * np.sqrt(evenness(run)),
        truth=fsc((first + second) / 2, true).numpy() / chance(shells),
    )


def evenness(run: Path) -> Floats:
    """Share of a shell's coefficients that count in the FSC of its halves, whose noise is as uneven as the views are.

    With variances a, b of the halves' noise in a cell it is <a> <b> / <a b>: 1 where all directions were seen alike.
    """
    state = latest_state(run)
    if state is None:
        raise ValueError(f"{run} holds no refinement")
    variances = []
    for half in HALVES:
        sums = load_sums(RunFolder(run), state.iteration, half, state.facts.box_px, torch.device("cpu"))
        shell, n = shells_of_cells(sums), sums.r_max + 1
        mean = radial_average(sums.weight, shell, sums.r_max + 2).to(sums.weight.dtype)[shell]
        divisor = torch.maximum(sums.weight, WEIGHT_FLOOR * mean).clamp_min(torch.finfo(mean.dtype).tiny)
        variances.append((sums.weight / divisor**2).double())
    one, two, both = (radial_average(values, shell, n) for values in (*variances, variances[0] * variances[1]))
    share = np.ones(state.facts.n_shells)
    share[:n] = (one * two / both.clamp_min(torch.finfo(both.dtype).tiny)).numpy()
    return share.clip(0, 1)


def noise_figures(runs: Sequence[Finished], usual: Sequence[Finished]) -> Iterator[Check]:
    """(b) for the same images refined by a method and, `usual`, by Wiener; without the latter for Wiener itself.

    What halves of noise share because both began with one reference is the same for both, image set by image set. So a
    method is judged by what it adds, from the end of that reference on.
    """
    what, first = "nothing but noise", REFERENCE + OUT_OF_REACH
    if not usual:
        yield from by_chance("b", f"{what}: halves beyond shell {SHARED}", [run.halves[SHARED + 1 :] for run in runs])
        yield from by_chance(
            "b", f"{what}: map and truth beyond shell {first - 1}", [run.truth[first:] for run in runs]
        )
        return
    reported, limit = (float(np.mean([run.reported_shell for run in of])) for of in (runs, usual))
    yield Check("b", f"{what}: mean reported shell, Wiener's plus one", reported, limit + 1)
    pairs = list(zip(runs, usual, strict=True))
    more = f"beyond shell {first - 1}, more than Wiener's"
    halves = [(run.halves - other.halves)[first:] / np.sqrt(2) for run, other in pairs]
    yield from by_chance("b", f"{what}: halves {more}", halves)
    truth = [(run.truth - other.truth)[first:] / np.sqrt(2) for run, other in pairs]
    yield from by_chance("b", f"{what}: map and truth {more}", truth)


def by_chance(letter: Letter, what: str, curves: list[Floats]) -> Iterator[Check]:
    """The largest value of all curves and their mean, in standard deviations of what chance gives.

    Only what is too much in common counts: maps that differ by more than chance share nothing.
    """
    yield Check(letter, f"{what}: largest, sd of chance", _largest(curves), deviations(sum(map(len, curves))))
    yield Check(letter, f"{what}: mean, sd of chance", _mean(curves), deviations(1))


def _largest(curves: Sequence[Floats]) -> float:
    return float(np.concatenate(curves).max())


def _mean(curves: Sequence[Floats]) -> float:
    values = np.concatenate(curves)
    return float(values.mean() * np.sqrt(len(values)))


def replaced_by_noise(source: Path, target: Path, seed: int) -> Path:
    """The table of a set with stacks of white noise of unit variance beside it; returns the STAR file."""
    target.mkdir(parents=True)
    for number, path in enumerate(sorted((source / "stacks").glob("*.mrcs"))):
        images = map_stack(path)
        noise = np.random.default_rng([99, seed, number]).standard_normal(images.shape, dtype=np.float32)
        (target / "stacks").mkdir(exist_ok=True)
        write_stack(target / "stacks" / path.name, noise, BOX_ANGST / images.shape[-1])
    copyfile(source / "particles.star", target / "particles.star")
    return target / "particles.star"
