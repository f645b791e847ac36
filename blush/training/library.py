"""Maps of a store, ready to be cut into patches: on the device, with what drawing and noise need to know of them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from blush.fourier.fsc import power_spectrum
from blush.training.store import Entry, Store

INSIDE = 0.5
PLACES = 4096
DEFAULT_CACHE_GB = 3.0


@dataclass(frozen=True)
class Loaded:
    """One entry in memory.

    Attributes
    ----------
    maps
        (c, N, N, N) float32, channels in the order of `entry.channels`. The truth is sharpened so that trilinear
        interpolation gives back its own amplitudes.
    signal
        (N / 2 + 1,) power per shell and voxel inside the mask: of the truth, or of what the halves share.
    noise
        The same of the halves' difference; zeros where halves are made while training.
    radius_px
        That of the mask, about the box's centre.
    places_px
        (n, 3) x, y, z of voxels inside the mask, from the box's centre.
    """

    entry: Entry
    maps: Tensor
    signal: Tensor
    noise: Tensor
    radius_px: float
    places_px: np.ndarray

    def channel(self, name: str) -> int:
        """Where a channel is."""
        return self.entry.channels.index(name)


class Library:
    """Entries of a store, read when they are first needed; the least used are let go beyond a limit of memory."""

    def __init__(
        self, store: Store, entries: Sequence[Entry], device: torch.device, cache_gb: float = DEFAULT_CACHE_GB
    ) -> None:
        self.store, self.entries, self.device = store, tuple(entries), device
        self._largest_bytes = cache_gb * 1e9
        self._held: OrderedDict[str, Loaded] = OrderedDict()

    def __getitem__(self, index: int) -> Loaded:
        """Entry of a number."""
        entry = self.entries[index]
        if entry.name in self._held:
            self._held.move_to_end(entry.name)
            return self._held[entry.name]
        loaded = load(self.store, entry, self.device)
        self._held[entry.name] = loaded
        while len(self._held) > 1 and sum(4 * held.maps.numel() for held in self._held.values()) > self._largest_bytes:
            self._held.popitem(last=False)
        return loaded


def load(store: Store, entry: Entry, device: torch.device) -> Loaded:
    """Read one entry."""
    maps = {name: torch.from_numpy(np.array(values)).float() for name, values in store.maps(entry).items()}
    mask = maps["mask"]
    inside = float(mask.mean().clamp_min(1e-4))
    scale = 1 / (entry.box_px**3 * inside)
    if "half1" in maps:
        total, difference = power_spectrum(maps["half1"] + maps["half2"]), power_spectrum(maps["half1"] - maps["half2"])
        signal = ((total - difference) / 4).clamp_min(0) * scale
        noise = difference / 2 * scale * inside  # it fills the box, not only the mask
    else:
        signal = power_spectrum(maps["truth"]) * scale
        noise = torch.zeros_like(signal)
    if "half1" not in maps:
        maps["truth"] = sharpened(maps["truth"])
    where = torch.nonzero(mask > INSIDE).flip(-1).numpy() - entry.box_px // 2
    if not len(where):
        where = np.zeros((1, 3), dtype=np.int64)
    radius = float(np.sqrt((where**2).sum(1).max()))
    places = where[:: max(1, len(where) // PLACES)]
    stacked = torch.stack([maps[name] for name in entry.channels]).to(device)
    return Loaded(entry, stacked, signal, noise, radius, places)


def sharpened(volume: Tensor) -> Tensor:
    """A map divided by the transform of the trilinear kernel, sinc² along each axis."""
    box = volume.shape[-1]
    full = torch.sinc(torch.fft.fftfreq(box, device=volume.device)) ** -2
    half = torch.sinc(torch.fft.rfftfreq(box, device=volume.device)) ** -2
    gain = full[:, None, None] * full[None, :, None] * half[None, None, :]
    return torch.fft.irfftn(torch.fft.rfftn(volume) * gain, s=volume.shape)
