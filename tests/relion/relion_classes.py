"""Simulated images of two maps, and a classification of them by RELION 3.1.3 and by Blush as RELION does it."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from relion_data import (
    BOX_PX,
    blobs,
    clean_transforms,
    images_of,
    optics_table,
    particle_table,
    transfer,
)

from blush.config import RunConfig
from blush.fourier.packed import packed
from blush.io.mrc import read_volume, write_stack, write_volume
from blush.io.star import read_star, write_star
from blush.jobs.autorefine import autorefine

N = 200
ITERATIONS = 3


@dataclass(frozen=True)
class Case:
    """A data set of two classes, and how both programs classify it.

    Attributes
    ----------
    noise, signal
        Of every optics group, each with a micrograph of its own, since RELION 3.1 has a noise spectrum for each.
    gain
        Lowest and highest grey scale of single images.
    """

    name: str
    pixel_size_angst: float
    diameter_angst: float
    lowpass_angst: float
    noise: tuple[float, ...]
    relion: tuple[object, ...]
    blush: dict[str, Any]
    signal: tuple[float, ...] = (1.0,)
    gain: tuple[float, float] = (1.0, 1.0)
    classification: dict[str, Any] = field(default_factory=dict)


GIVEN = Case("given", 6.0, 130.0, 30.0, (0.4,), ("--skip_align",), {})
NORMED = Case(
    "normed", 6.0, 130.0, 30.0, (0.4, 0.5), ("--skip_align", "--norm", "--scale"),
    {"refinement": {"norm_correction": True, "scale_correction": True}}, (1.15, 0.9), (0.85, 1.2),
)  # fmt: skip
SEARCHED = Case(
    # At 1 A per pixel RELION's offset prior is free of its mixture of A and pixels (docs/algorithm.md, section 3).
    "searched", 1.0, 22.0, 5.0, (0.1,),
    ("--healpix_order", 1, "--oversampling", 1, "--offset_range", 2, "--offset_step", 1, "--offset", 5),
    {"sampling": {"healpix_order": 1, "offset_range_px": 2, "offset_step_px": 1, "offset_sigma_angst": 5}},
    classification={"search": "global"},
)  # fmt: skip


def write_mixture(folder: Path, case: Case) -> None:
    """`NAME.star`, `NAME.mrcs`, `NAME_map1.mrc` and `_map2.mrc`; the second map has one blob more than the first."""
    groups, pixel = len(case.noise), case.pixel_size_angst
    each = ("Voltage", "SphericalAberration", "AmplitudeContrast", "ImagePixelSize", "ImageSize", "ImageDimensionality")
    columns = {name: optics_table(pixel)[f"rln{name}"] * groups for name in each}
    names = [f"opticsGroup{g + 1}" for g in range(groups)]
    optics = optics_table(pixel, OpticsGroup=list(range(1, groups + 1)), OpticsGroupName=names, **columns)
    table = particle_table(case.name, N, pixel, groups)
    volumes, (classes, grain, grey) = two_maps(), (np.random.default_rng(seed) for seed in (9, 2, 5))
    spectra = [clean_transforms(volume, table, pixel) for volume in volumes]
    second = torch.from_numpy(classes.random(N) < 0.4)[:, None]
    spectrum = torch.where(second, spectra[1], spectra[0]) * transfer(table, optics, packed(BOX_PX))
    group = np.asarray(table["rlnOpticsGroup"]) - 1
    clean = images_of(spectrum, BOX_PX) * np.asarray(case.signal * groups)[group, None, None]
    noisy = clean + grain.normal(size=clean.shape) * np.asarray(case.noise)[group, None, None]
    images = noisy * grey.uniform(*case.gain, N)[:, None, None]
    write_stack(folder / f"{case.name}.mrcs", images.astype(np.float32), pixel)
    for k, volume in enumerate(volumes, start=1):
        write_volume(folder / f"{case.name}_map{k}.mrc", volume, pixel)
    write_star(folder / f"{case.name}.star", {"optics": optics, "particles": table}, comment="version 30001")
    listed = np.array([f"{case.name}_map{k}.mrc" for k in (1, 2)], dtype=object)
    write_star(folder / f"{case.name}_maps.star", {"": {"rlnReferenceImage": listed}})


def two_maps() -> tuple[np.ndarray, np.ndarray]:
    """The blobs, and the same with one more."""
    one = blobs()
    z, y, x = np.indices(one.shape) - BOX_PX // 2
    return one, one + (0.25 * np.exp(-((x - 5) ** 2 + (y + 3) ** 2 + (z - 2) ** 2) / 6)).astype(np.float32)


def classify_in_relion(folder: Path, case: Case, run_relion) -> Path:
    """Both maps as references, no perturbation, and maps by division as Blush makes them; to `relion_NAME/run`."""
    out = f"relion_{case.name}"
    (folder / out).mkdir()
    run_relion("refine", "--i", f"{case.name}.star", "--ref", f"{case.name}_maps.star", "--o", f"{out}/run",
               "--iter", ITERATIONS, "--tau2_fudge", 4, "--ctf", "--ctf_corrected_ref", "--flatten_solvent",
               "--zero_mask", "--ini_high", case.lowpass_angst, "--particle_diameter", case.diameter_angst, "--pad", 2,
               "--skip_gridding", "--perturb", 0, "--dont_check_norm", "--random_seed", 5, *case.relion)  # fmt: skip
    return folder / out


def classify_in_blush(folder: Path, case: Case, iterations: int = ITERATIONS) -> Path:
    """The same with `prior: spectrum`, as it is RELION's."""
    name = case.name
    refinement = {"norm_correction": False, "scale_correction": False} | case.blush.get("refinement", {})
    settings: dict[str, Any] = {
        "name": f"{name}{iterations}",
        "job": "classify",
        "particles": folder / f"{name}.star",
        "reference": folder / f"{name}_map1.mrc",
        "mask": "sphere",
        "particle_diameter_angst": case.diameter_angst,
        "initial_lowpass_angst": case.lowpass_angst,
        "sampling": {"perturb": 0} | case.blush.get("sampling", {}),
        "refinement": {"reference_is_greyscale": True, "iteration_tables": True} | refinement,
        "classification": {
            "references": [folder / f"{name}_map{k}.mrc" for k in (1, 2)],
            "prior": "spectrum",
            "folds": 1,
            "temperature": 1,
            "tau2_fudge": 4,
            "max_iterations": iterations,
        }
        | case.classification,
        "compute": {"device": "cpu"},
        "output": folder / "blush",
    }
    return autorefine(RunConfig.model_validate(settings))


@dataclass(frozen=True)
class Tables:
    """What an iteration of two programs left; arrays are (ours, theirs), images in the order of ours."""

    ours: Path
    theirs: Path
    iteration: int

    def image(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """A column of the images."""
        mine, other = (read_star(path)["particles"] for path in self._paths("data.star"))
        place = {image: row for row, image in enumerate(other["rlnImageName"])}
        rows = [place[image] for image in mine["rlnImageName"]]
        return np.asarray(mine[name], dtype=float), np.asarray(other[name], dtype=float)[rows]

    def model(self, block: str, name: str) -> tuple[np.ndarray, np.ndarray]:
        """A column or number of the models."""
        mine, other = (np.atleast_1d(read_star(path)[block][name]) for path in self._paths("model.star"))
        return mine.astype(float), other.astype(float)

    def maps(self, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Map of a class."""
        mine, other = (read_volume(path)[0] for path in self._paths(f"class{k:03d}.mrc"))
        return mine, other

    def _paths(self, ending: str) -> list[Path]:
        return [folder / f"run_it{self.iteration:03d}_{ending}" for folder in (self.ours, self.theirs)]
