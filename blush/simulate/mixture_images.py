"""Images of a mixture, micrograph by micrograph."""

import math
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from blush.simulate.acquisition import Acquisition, draw_acquisition, junk_generator, texture_generator
from blush.simulate.assignment import SOUND, Assignment, assign
from blush.simulate.images import clean_images, signal_variance
from blush.simulate.junk import JUNK_WIDTHS, blobs, edges, off_centre_angst, seen_through, with_variance
from blush.simulate.mixture import Mixture
from blush.simulate.mixture_settings import JUNK_KINDS
from blush.simulate.particle import Particle
from blush.simulate.set_files import rows_of
from blush.simulate.settings import SimulateConfig
from blush.simulate.slices import Slicer

_NOISE, _BLOBS, _EDGES, _OFF_CENTRE, _BROKEN = range(len(JUNK_KINDS))
_SLICERS_KEPT_BYTES = 1 << 30


class MixtureImages:
    """Noise-free images of a mixture.

    Attributes
    ----------
    seen
        How each particle was seen, as picked: origins of off-centre particles say how far off they are.
    what
        What each image shows.
    """

    def __init__(self, mixture: Mixture, settings: SimulateConfig) -> None:
        self.mixture, self.settings = mixture, settings
        self.what = assign(settings, [kind.fraction for kind in mixture.kinds])
        self.seen = _displaced(draw_acquisition(settings), self.what, mixture.diameter_angst, settings)
        self._slicers: dict[int, Slicer] = {}

    def signal_variance(self, radius_px: float) -> float:
        """Variance of the signal inside a circle, in the first micrograph, as if nothing in it were junk."""
        what = self._what(0)
        sound = replace(what, junk=np.full(len(what), SOUND))
        return signal_variance(self._particles(0, sound, SOUND, 1), radius_px)

    def micrograph(self, number: int, particle_variance: float) -> Tensor:
        """Images of one micrograph, (n, N, N).

        Parameters
        ----------
        particle_variance
            Variance of the pixels of a particle's image, on which that of blobs and edges is based.
        """
        what = self._what(number)
        images = self._particles(number, what, SOUND, 1) + self._particles(number, what, _OFF_CENTRE, JUNK_WIDTHS)
        for k, fragment in enumerate(self.mixture.fragments):
            part = (what.turn * len(self.mixture.fragments)).astype(np.int64)
            self._add(images, fragment, number, (what.junk == _BROKEN) & (part == k), 1)
        for kind, draw in ((_BLOBS, blobs), (_EDGES, edges)):
            rows = torch.from_numpy(np.flatnonzero(what.junk == kind))
            if len(rows):
                generator, imaging = junk_generator(self.settings.seed, number, kind), self.settings.imaging
                count = imaging.particles_per_micrograph
                strength = self._strength(count, generator)[rows]
                objects = draw(count, imaging, self.mixture.diameter_angst, generator)[rows]
                shown = seen_through(objects, self._seen(number).take(rows), imaging)
                images[rows] = with_variance(shown, strength * particle_variance)
        return images

    def _strength(self, count: int, generator: np.random.Generator) -> Tensor:
        """(n,) variance over that of a particle, evenly spread in its logarithm."""
        ends = math.log(self.settings.junk.strength_min), math.log(self.settings.junk.strength_max)
        return torch.from_numpy(np.exp(generator.uniform(*ends, count)))

    def _seen(self, number: int) -> Acquisition:
        return self.seen.take(rows_of(number, self.settings))

    def _what(self, number: int) -> Assignment:
        return self.what.take(rows_of(number, self.settings))

    def _particles(self, number: int, what: Assignment, junk: int, widths: int) -> Tensor:
        """Images of one micrograph, 0 where a row is not of this kind of junk (or sound)."""
        box = self.settings.imaging.box_px
        images = torch.zeros(len(what), box, box)
        for k, kind in enumerate(self.mixture.kinds):
            mine, state = (what.junk == junk) & (what.species == k), kind.state(what.turn)
            for s, particle in enumerate(kind.states):
                self._add(images, particle, number, mine & (state == s), widths)
        return images

    def _add(self, images: Tensor, particle: Particle, number: int, chosen: np.ndarray, widths: int) -> None:
        """Put the images of a particle into the chosen rows of one micrograph."""
        rows = torch.from_numpy(np.flatnonzero(chosen))
        if len(rows):
            seen = self._seen(number).take(rows)
            images[rows] = clean_images(self._slicer(particle, number), seen, self.settings.imaging, widths)

    def _slicer(self, particle: Particle, number: int) -> Slicer:
        """Slicer of a particle, kept where it is the same for every micrograph and there is room."""
        if particle.belt is not None:
            return Slicer(particle.disordered_spectrum(texture_generator(self.settings.seed, number)))
        if id(particle) not in self._slicers:
            slicer = Slicer(particle.spectrum)
            if len(self._slicers) * slicer.nbytes > _SLICERS_KEPT_BYTES:
                return slicer
            self._slicers[id(particle)] = slicer
        return self._slicers[id(particle)]


def _displaced(seen: Acquisition, what: Assignment, diameter_angst: float, settings: SimulateConfig) -> Acquisition:
    """Acquisition with off-centre particles off the centre."""
    rows = what.junk == _OFF_CENTRE
    if not rows.any():
        return seen
    count = settings.imaging.particles_per_micrograph
    parts = [
        off_centre_angst(count, diameter_angst, junk_generator(settings.seed, number, _OFF_CENTRE))
        for number in range(int(seen.micrograph[-1]) + 1)
    ]
    shift = torch.cat(parts)[: len(seen)]
    moved = torch.where(torch.from_numpy(rows)[:, None], seen.origin_angst + shift, seen.origin_angst)
    return replace(seen, origin_angst=moved)
