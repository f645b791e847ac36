"""Simulated particles for the comparisons with RELION, written as RELION reads them."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from blush.ctf.transfer import Optics, ctf_at
from blush.fourier.packed import Packed, packed
from blush.fourier.project import project
from blush.fourier.shift import multiply, phases
from blush.fourier.transform import transform
from blush.geometry.rotation import matrix_from_euler
from blush.io.mrc import write_stack, write_volume
from blush.io.star import write_star

BOX_PX = 32
FRACTION_PX = (0.3, -0.2)


@dataclass(frozen=True)
class DataSet:
    """One simulated data set: `NAME.star`, `NAME.mrcs` and `NAME_map.mrc` in `folder`, and what is in them."""

    folder: Path
    name: str
    pixel_size_angst: float
    volume: np.ndarray
    optics: dict
    particles: dict
    images: np.ndarray

    @property
    def star(self) -> Path:
        """Particle table."""
        return self.folder / f"{self.name}.star"


def blobs(n: int = BOX_PX, seed: int = 0) -> np.ndarray:
    """Twenty Gaussian blobs in the inner half of the box, without any symmetry.

    They are faint because RELION prints numbers below 0.001 with seven digits and larger ones with fewer.
    """
    rng = np.random.default_rng(seed)
    z, y, x = np.indices((n, n, n)) - n // 2
    volume = np.zeros((n, n, n))
    for centre in rng.uniform(-n / 5, n / 5, (20, 3)):
        square = (x - centre[0]) ** 2 + (y - centre[1]) ** 2 + (z - centre[2]) ** 2
        volume += rng.uniform(0.05, 0.15) * np.exp(-square / 4)
    return volume.astype(np.float32)


def optics_table(pixel_size_angst: float, **extra: list) -> dict:
    """One optics group; `extra` are further columns, without their rln."""
    columns = {
        "OpticsGroup": [1],
        "OpticsGroupName": ["opticsGroup1"],
        "Voltage": [300.0],
        "SphericalAberration": [2.7],
        "AmplitudeContrast": [0.1],
        "ImagePixelSize": [pixel_size_angst],
        "ImageSize": [BOX_PX],
        "ImageDimensionality": [2],
    } | extra
    return {f"rln{name}": values for name, values in columns.items()}


def particle_table(name: str, n: int, pixel_size_angst: float, groups: int = 1, seed: int = 1) -> dict:
    """Random poses, offsets of up to two pixels and `FRACTION_PX`, and astigmatism.

    Defocus keeps the CTF well sampled. Optics groups take turns, and each has a micrograph of its own.
    """
    rng = np.random.default_rng(seed)
    defocus = rng.uniform(220, 550, n) * pixel_size_angst**2
    columns = {
        "ImageName": [f"{i + 1:06d}@{name}.mrcs" for i in range(n)],
        "MicrographName": [f"mic{i % groups + 1}.mrc" for i in range(n)],
        "OpticsGroup": np.arange(n) % groups + 1,
        "DefocusU": defocus,
        "DefocusV": defocus * rng.uniform(0.92, 1, n),
        "DefocusAngle": rng.uniform(-90, 90, n),
        "AngleRot": rng.uniform(-180, 180, n),
        "AngleTilt": np.degrees(np.arccos(rng.uniform(-1, 1, n))),
        "AnglePsi": rng.uniform(-180, 180, n),
        "OriginXAngst": (rng.integers(-2, 3, n) + FRACTION_PX[0]) * pixel_size_angst,
        "OriginYAngst": (rng.integers(-2, 3, n) + FRACTION_PX[1]) * pixel_size_angst,
    }
    # Six decimals, as RELION prints them, so that both programs read the same numbers.
    return {f"rln{key}": np.round(v, 6) if np.asarray(v).dtype == float else v for key, v in columns.items()}


def rotations(table: dict) -> torch.Tensor:
    """(n, 3, 3) of a particle table."""
    eulers = [torch.as_tensor(table[f"rlnAngle{name}"]) for name in ("Rot", "Tilt", "Psi")]
    return matrix_from_euler(torch.stack(eulers, -1).double())


def clean_transforms(volume: np.ndarray, table: dict, pixel_size_angst: float) -> torch.Tensor:
    """(n, p) complex slices at the poses, displaced against rlnOrigin: the shift that would centre them."""
    pixels = packed(volume.shape[0])
    count = len(pixels.kx)
    slices = project(transform(torch.from_numpy(volume).double(), len(volume) // 2), rotations(table), pixels, count)
    origin = torch.stack([torch.as_tensor(table[f"rlnOrigin{axis}Angst"]) for axis in "XY"], -1) / pixel_size_angst
    slices = multiply(slices, phases(-origin, pixels, count, torch.float64))
    return torch.complex(slices[:, 0], slices[:, 1])


def transfer(table: dict, optics: dict, pixels: Packed) -> torch.Tensor:
    """(n, p) CTF on the packed half plane."""
    lens = Optics(
        *(torch.tensor(optics[f"rln{c}"]).double() for c in ("Voltage", "SphericalAberration", "AmplitudeContrast"))
    )
    extent = pixels.box_px * optics["rlnImagePixelSize"][0]
    u, v, angle = (torch.as_tensor(table[f"rlnDefocus{c}"]).double() for c in ("U", "V", "Angle"))
    zero = torch.zeros_like(u)
    kx, ky = pixels.kx.double() / extent, pixels.ky.double() / extent
    return ctf_at(kx, ky, u, v, angle, zero, zero, zero + 1, lens.take(torch.as_tensor(table["rlnOpticsGroup"]) - 1))


def images_of(spectrum: torch.Tensor, n: int) -> np.ndarray:
    """Images whose centred transforms, divided by N^2, are (n, p) packed coefficients."""
    pixels = packed(n)
    full = torch.zeros(len(spectrum), n * (n // 2 + 1), dtype=torch.complex128)
    full[:, pixels.index] = spectrum * (1 - 2 * ((pixels.kx + pixels.ky) % 2)) * n**2
    full = full.view(-1, n, n // 2 + 1)
    full[:, n // 2 + 1 :, 0] = full[:, 1 : n // 2, 0].flip(1).conj()  # kx = 0 stores both of a pair
    return torch.fft.irfft2(full, s=(n, n)).numpy()


def write_data_set(
    folder: Path,
    name: str = "particles",
    n: int = 300,
    pixel_size_angst: float = 6.0,
    noise: tuple[float, ...] = (0.4,),
    signal: tuple[float, ...] = (1.0,),
    **extra: list,
) -> DataSet:
    """Simulate and write a data set; `noise` and `signal` hold a value per group, `extra` columns of the groups."""
    volume, optics = blobs(), optics_table(pixel_size_angst, **extra)
    table = particle_table(name, n, pixel_size_angst, len(optics["rlnOpticsGroup"]))
    spectrum = clean_transforms(volume, table, pixel_size_angst) * transfer(table, optics, packed(BOX_PX))
    images, group = images_of(spectrum, BOX_PX), np.asarray(table["rlnOpticsGroup"]) - 1
    images = images * np.asarray(signal)[group, None, None]
    grain = np.random.default_rng(2).normal(size=images.shape) * np.asarray(noise)[group, None, None]
    images = (images + grain).astype(np.float32)
    write_stack(folder / f"{name}.mrcs", images, pixel_size_angst)
    write_volume(folder / f"{name}_map.mrc", volume, pixel_size_angst)
    write_star(folder / f"{name}.star", {"optics": optics, "particles": table}, comment="version 30001")
    return DataSet(folder, name, pixel_size_angst, volume, optics, table, images)
