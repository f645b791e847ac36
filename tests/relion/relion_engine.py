"""Our expectation step with the pose of every particle given, as RELION's --skip_align has it."""

from dataclasses import dataclass, replace
from pathlib import Path

import mrcfile
import numpy as np
import torch
from relion_data import BOX_PX, FRACTION_PX, DataSet

from blush.expectation.component import Component, Reference
from blush.expectation.model import Model
from blush.expectation.shard import Expectation
from blush.expectation.sums import Sums
from blush.fourier.backproject import Accumulator, empty_accumulator, hermitian, trim
from blush.fourier.transform import Sphere, transform
from blush.geometry.rotation import matrix_from_euler
from blush.geometry.sampling import OrientationGrid
from blush.io.mrc import read_volume
from blush.io.particles import ParticleSet, read_particles
from blush.io.star import read_star


def model_value(file: Path, name: str) -> float:
    """A number of the general block of a model.star."""
    return float(np.atleast_1d(read_star(file)["model_general"][name])[0])


def noise_of(file: Path, groups: int) -> np.ndarray:
    """(groups, shells) noise spectra of a model.star of RELION 3.1: one per micrograph group."""
    blocks = read_star(file)
    return np.array([np.asarray(blocks[f"model_group_{g + 1}"]["rlnSigma2Noise"], dtype=float) for g in range(groups)])


DIAMETER_ANGST = 130.0


@dataclass(frozen=True)
class GivenGrid:
    """One orientation per particle, each with eight equal children: a search that has nothing to choose from."""

    given: torch.Tensor
    n_psi: int = 1

    @property
    def n_directions(self) -> int:
        """One per particle."""
        return len(self.given)

    @property
    def n_orientations(self) -> int:
        """One per particle."""
        return len(self.given)

    def matrices(self, orientation: torch.Tensor) -> torch.Tensor:
        """(n, 3, 3)."""
        return self.given[orientation]

    def fine_matrices(self, orientation: torch.Tensor) -> torch.Tensor:
        """(n, 8, 3, 3)."""
        return self.given[orientation][:, None].expand(-1, 8, -1, -1)

    def local_neighbours(self, rot_deg: torch.Tensor, *_: object) -> tuple[torch.Tensor, torch.Tensor]:
        """The particle's own; a block must hold them all, in order."""
        assert len(rot_deg) == len(self.given)
        each = torch.arange(len(self.given))[:, None]
        return each, torch.zeros(each.shape, dtype=torch.float64)


@dataclass(frozen=True)
class GivenPoses:
    """The sums of one expectation step, and what went into them."""

    engine: Expectation
    model: Model
    particles: ParticleSet
    sums: Sums

    @property
    def volume(self) -> Accumulator:
        """D and W as RELION writes them."""
        return trim(hermitian(self.sums.volumes[0]))

    @property
    def log_likelihood(self) -> np.ndarray:
        """Of each particle; the 8 orientations times 4 offsets of a sample are one and the same."""
        return self.sums.table["log_likelihood"].numpy() - np.log(32)


def model_of(
    first: Path, reference: Path, radius: int, diameter_angst: float, dtype: torch.dtype = torch.float64, **fields
) -> Model:
    """The model that RELION's iteration 0 describes, where every optics group has a micrograph of its own."""
    grid = fields.pop("grid", OrientationGrid.build(0))
    ssnr = np.asarray(read_star(first)["model_class_1"]["rlnSsnrMap"], dtype=float)
    groups = len(read_star(first)["model_groups"]["rlnGroupNumber"])
    volume, pixel_size_angst = read_volume(reference)
    values = {
        "component": one_reference(transform(torch.from_numpy(volume).to(dtype), radius), grid),
        "pixel_size_angst": pixel_size_angst,
        "particle_diameter_angst": diameter_angst,
        "coarse_radius": radius,
        "radius": radius,
        "noise": torch.from_numpy(noise_of(first, groups)),
        "scale": torch.ones(groups, dtype=torch.float64),
        "scale_shells": torch.from_numpy(ssnr > 3),
        "norm_average": 1.0,
        "offsets_angst": torch.zeros(1, 2, dtype=torch.float64),
        "offset_step_angst": pixel_size_angst,
        "sigma_offset_angst": 10.0,
    }
    return Model(**(values | fields))


def one_reference(sphere: Sphere, grid: OrientationGrid) -> Component:
    """A component of one map without a prior."""
    return Component((Reference(sphere),), grid)


def with_given_poses(particles: ParticleSet, model: Model) -> GivenPoses:
    """One sample per particle, of weight 1: its pose in the table.

    The simulated offsets all have the same fraction of a pixel, `FRACTION_PX`, which is the one offset searched.
    """
    angles = np.stack([particles.rot_deg, particles.tilt_deg, particles.psi_deg], -1)
    offset = torch.tensor([FRACTION_PX], dtype=torch.float64) * model.pixel_size_angst
    grid = GivenGrid(matrix_from_euler(torch.from_numpy(angles)))
    model = replace(
        model, component=one_reference(model.component.sphere, grid), offsets_angst=offset, offset_step_angst=0.0,
        local_sigma_deg=1.0,
    )  # fmt: skip
    engine = Expectation(model, particles, torch.float64, torch.device("cpu"))
    engine.room.images = len(particles)
    return GivenPoses(engine, model, particles, engine.run(particles))


def padded_half(array: torch.Tensor, box_px: int) -> np.ndarray:
    """(pad N, pad N, pad N/2 + 1) in the order of rfftn from a sphere array."""
    radius, size = (array.shape[0] - 1) // 2, 2 * box_px
    keep = min(radius, size // 2 - 1)
    span, rows = slice(radius - keep, radius + keep + 1), np.arange(-keep, keep + 1) % size
    out = np.zeros((size, size, size // 2 + 1), dtype=array.numpy().dtype)
    out[np.ix_(rows, rows, np.arange(keep + 1))] = array.numpy()[span, span, : keep + 1]
    return out


def padded_radius(box_px: int) -> np.ndarray:
    """|k| of every cell of `padded_half`, in padded units."""
    size = 2 * box_px
    k = np.fft.fftfreq(size, 1 / size)
    return np.sqrt(k[:, None, None] ** 2 + k[None, :, None] ** 2 + np.arange(size // 2 + 1)[None, None, :] ** 2)


def external_sums(folder: Path, root: str) -> tuple[np.ndarray, np.ndarray]:
    """D and W that RELION wrote for the external reconstruction program."""
    real, imaginary, weight = (
        mrcfile.read(folder / f"{root}_external_reconstruct_{part}.mrc").astype(float)
        for part in ("data_real", "data_imag", "weight")
    )
    return real + 1j * imaginary, weight


@dataclass(frozen=True)
class Iteration:
    """One iteration of RELION and of ours, on the same particles, poses, noise and reference."""

    data: DataSet
    root: str
    ours: GivenPoses

    def file(self, iteration: int, kind: str) -> Path:
        return self.data.folder / f"{self.root}_it{iteration:03d}_{kind}.star"

    def column(self, name: str) -> np.ndarray:
        """A column of RELION's particle table in the order of the input."""
        table = read_star(self.file(1, "data"))["particles"]
        place = {image: row for row, image in enumerate(table["rlnImageName"])}
        rows = [place[image] for image in self.data.particles["rlnImageName"]]
        return np.asarray(table[name], dtype=float)[rows]


def iterate(data: DataSet, run_relion, root: str, *options: object) -> Iteration:
    """Run both programs for one iteration."""
    (data.folder / root).parent.mkdir(exist_ok=True)
    run_relion("refine", "--i", data.star.name, "--o", root, "--ref", f"{data.name}_map.mrc", "--skip_align",
               "--iter", 1, "--external_reconstruct", "--ctf", "--ctf_corrected_ref", "--zero_mask", "--norm",
               "--scale", "--particle_diameter", DIAMETER_ANGST, "--dont_check_norm", *options)  # fmt: skip
    radius = int(model_value(data.folder / f"{root}_it001_model.star", "rlnCurrentImageSize")) // 2
    model = model_of(
        data.folder / f"{root}_it000_model.star", data.folder / f"{data.name}_map.mrc", radius, DIAMETER_ANGST
    )
    particles, _ = read_particles(data.star)
    return Iteration(data, root, with_given_poses(particles, model))


def assert_sums_agree(iteration: Iteration) -> None:
    """D and W to the float32 of RELION's files.

    Pixels at |k| = r_max exactly pass RELION's test of the radius or not as their rounding has it, so the cells
    that they reach, within the root of 3 of the rim, are left out.
    """
    data, weight = external_sums(iteration.data.folder, f"{iteration.root}_it001_class001")
    volume = iteration.ours.volume
    inside = padded_radius(BOX_PX) < 2 * volume.r_max - np.sqrt(3)
    for mine, theirs in ((volume.data, data), (volume.weight, weight)):
        difference = np.abs(padded_half(mine, BOX_PX) - theirs)[inside]
        assert np.linalg.norm(difference) < 3e-7 * np.linalg.norm(theirs[inside])
        assert difference.max() < 1e-6 * np.abs(theirs).max()


def accumulator_of(folder: Path, root: str, r_max: int) -> Accumulator:
    """RELION's D and W as our sums."""
    data, weight = external_sums(folder, root)
    empty = empty_accumulator(BOX_PX, r_max, dtype=torch.float64)
    rows = np.arange(-empty.radius, empty.radius + 1) % (2 * BOX_PX)
    cells = np.ix_(rows, rows, np.arange(empty.radius + 1).clip(max=BOX_PX))
    channels = [torch.from_numpy(part[cells]) for part in (data.real, data.imag, weight)]
    grid = torch.stack([*channels, torch.zeros_like(channels[0])], -1)
    # Indices beyond Nyquist wrap onto the other side: `trim` takes those cells, and the rim's neighbours, away.
    return trim(Accumulator(grid, BOX_PX, r_max))
