"""Random problems for the kernels, and what comes out of them in complex double precision, one number at a time."""

import numpy as np
import torch

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def on_device(array: np.ndarray) -> torch.Tensor:
    """Real arrays in single precision, counts as they are."""
    return torch.from_numpy(array.astype(np.float32) if array.dtype.kind == "f" else array).to(DEVICE)


def planar(array: np.ndarray) -> torch.Tensor:
    return on_device(np.stack((array.real, array.imag), -2))


def as_complex(tensor: torch.Tensor) -> np.ndarray:
    array = tensor.double().cpu().numpy()
    return array[..., 0, :] + 1j * array[..., 1, :]


def poisoned(*shape: int) -> torch.Tensor:
    return torch.full(shape, torch.nan, device=DEVICE)


def half_plane(box: int) -> tuple[np.ndarray, np.ndarray]:
    """Frequencies of an image of any box within its largest circle, by distance."""
    half = box // 2
    ky, kx = (k.ravel() for k in np.mgrid[-half : half + 1, 0 : half + 1])
    kept = ((kx > 0) | (ky >= 0)) & (kx**2 + ky**2 <= half**2)
    order = np.argsort(kx[kept] ** 2 + ky[kept] ** 2, kind="stable")
    return kx[kept][order], ky[kept][order]


def rotations(rng: np.random.Generator, count: int) -> np.ndarray:
    """Uniform random rotations, exactly as single precision has them."""
    q, _ = np.linalg.qr(rng.standard_normal((count, 3, 3)))
    return (q * np.linalg.det(q)[:, None, None]).astype(np.float32).astype(float)


def taps(matrix: np.ndarray, kx: float, ky: float, pad: int, radius: int) -> tuple[list[tuple], bool]:
    """Cells about a point of a slice with their weights, and whether the point was reflected."""
    point = pad * (matrix[0] * kx + matrix[1] * ky)
    reflected = point[0] < 0
    point = -point if reflected else point
    low = np.floor(point).astype(int)
    part = point - low
    cells = []
    for step in np.ndindex(2, 2, 2):
        share = np.prod([part[a] if step[a] else 1 - part[a] for a in range(3)])
        x, y, z = low + step
        cells.append(((z + radius, y + radius, x), share))
    return cells, reflected


def ctfs(rng: np.random.Generator, images: int, kx: np.ndarray, ky: np.ndarray) -> np.ndarray:
    """(images, n) CTFs of three optics groups, which differ in voltage, amplitude contrast and pixel size."""
    wavelength, amplitude, pixel = [0.0197, 0.0251, 0.0335], [0.1, 0.07, 0.2], [1.1, 1.4, 0.9]
    group = np.arange(images) % 3
    out = np.empty((images, len(kx)))
    for i, g in enumerate(group):
        k2 = (kx**2 + ky**2) / (64 * pixel[g]) ** 2
        defocus = rng.uniform(8e3, 25e3) + rng.uniform(-500, 500) * np.cos(2 * np.arctan2(ky, kx))
        out[i] = np.sin(np.pi * wavelength[g] * defocus * k2 + np.arcsin(amplitude[g]))
    return out


class Listed:
    """Images with CTFs of several groups, slices, shifts, and sorted pairs of them."""

    def __init__(self, seed: int, box: int, children: int, images: int = 4, own_shifts: bool = False) -> None:
        rng = np.random.default_rng(seed)
        self.rng, self.box, self.children = rng, box, children
        self.kx, self.ky = half_plane(box)
        n, rows = len(self.kx), 3
        self.n, self.n_images, self.n_rows = n, images, rows
        transfer = ctfs(rng, images, self.kx, self.ky)
        noise = rng.uniform(0.5, 2, n)

        def complex_noise(*shape):
            return rng.standard_normal(shape) + 1j * rng.standard_normal(shape)

        self.image = complex_noise(images, n) * transfer / noise
        self.power = transfer**2 / (2 * noise)
        self.slices = complex_noise(rows, children, n)
        of_one = 3
        self.px = rng.uniform(-6, 6, (of_one * (images if own_shifts else 1), 4, 2)).astype(np.float32).astype(float)
        every = [(i, u, t) for i in range(images) for u in range(rows) for t in range(of_one)]
        kept = np.sort(rng.permutation(len(every))[: len(every) * 2 // 3])
        chosen = np.array([every[k] for k in kept])
        self.of_image, self.of_row, shift = chosen.T
        self.of_shift = shift + of_one * self.of_image if own_shifts else shift
        self.prior = rng.standard_normal(len(kept))
        weight = rng.random((len(kept), 4, children))
        self.weight = weight * (rng.random(weight.shape) < 0.3) * (rng.random(len(kept)) < 0.7)[:, None, None]

    def phase(self, t: int, j: int) -> np.ndarray:
        x, y = self.px[t, j]
        return np.exp(-2j * np.pi * (self.kx * x + self.ky * y) / self.box)

    def arguments(self) -> tuple:
        """Image, power, slices, shifts, kx, ky, box, and the image, shift and row of each pair."""
        image, slices = planar(self.image), planar(self.slices)
        pairs = (on_device(one.astype(np.int64)) for one in (self.of_image, self.of_shift, self.of_row))
        counts = (on_device(k.astype(np.int64)) for k in (self.kx, self.ky))
        return image, on_device(self.power), slices, on_device(self.px), *counts, self.box, *pairs
