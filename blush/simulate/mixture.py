"""A mixture: several species, each one particle or a motion of many, and junk."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from blush.errors import BlushError, Problem
from blush.simulate.acquisition import junk_generator
from blush.simulate.atoms import Atoms, Frame, Unit, read_unit
from blush.simulate.changes import Structure, changed
from blush.simulate.junk import broken
from blush.simulate.mixture_settings import JUNK_KINDS, AngleRange, Change, Rotate
from blush.simulate.particle import Particle, build_structure, check_size
from blush.simulate.settings import SimulateConfig, Species
from blush.simulate.solvent import excluded_volume, soft_mask

_FOCUS_EXTEND_ANGST, _FOCUS_EDGE_ANGST = 5.0, 6.0
_NO_MICROGRAPH = 2**32 - 1


@dataclass(frozen=True)
class Kind:
    """One class of the truth.

    Attributes
    ----------
    states
        What its images show: one particle, or those of a motion.
    angles_deg
        That of each state, where they are a motion.
    """

    name: str
    fraction: float
    symmetry: str
    states: tuple[Particle, ...]
    angles_deg: tuple[float, ...] | None

    def state(self, turn: np.ndarray) -> np.ndarray:
        """Number of the state of particles, from numbers in [0, 1)."""
        return np.minimum((turn * len(self.states)).astype(np.int64), len(self.states) - 1)

    def volume(self) -> Tensor:
        """Mean map of the class, (N, N, N)."""
        return torch.stack([state.volume() for state in self.states]).mean(0)

    def mask(self) -> Tensor:
        """Soft mask around every state, (N, N, N)."""
        return torch.stack([state.mask for state in self.states]).amax(0)


@dataclass(frozen=True)
class Mixture:
    """What the images of a set can show.

    Attributes
    ----------
    focus
        (N, N, N) soft mask around all atoms that changes have to do with; None where nothing is changed.
    """

    kinds: tuple[Kind, ...]
    fragments: tuple[Particle, ...]
    focus: Tensor | None

    def __post_init__(self) -> None:
        sizes = {(p.box_px, p.pixel_size_angst) for kind in self.kinds for p in kind.states}
        if len(sizes) > 1:
            said = ", ".join(f"{box} px of {pixel:g} Å" for box, pixel in sorted(sizes))
            raise BlushError("cannot mix particles", [Problem("boxes differ", "build all in one box", value=said)])

    @property
    def diameter_angst(self) -> float:
        """Circle around every species."""
        return max(state.diameter_angst for kind in self.kinds for state in kind.states)

    def volume(self) -> Tensor:
        """Mean of all species by their fractions, (N, N, N)."""
        return torch.stack([kind.fraction * kind.volume() for kind in self.kinds]).sum(0)


@dataclass(frozen=True)
class _Variant:
    """A species with one angle for each of its changes."""

    name: str
    fraction: float
    changes: tuple[tuple[Change, ...], ...]
    angles_deg: tuple[float, ...] | None


def build_mixture(settings: SimulateConfig) -> Mixture:
    """Read the models of all species, change them, and compute their densities.

    Raises
    ------
    BlushError
        Where a model or a change cannot be used, or a species does not fit the box.
    """
    first: Frame | None = None
    kinds, structures, touched = [], [], []
    for species in settings.species or (Species(name="particle", fraction=1.0),):
        own = settings.model_copy(update={"specimen": species.specimen or settings.specimen})
        unit = read_unit(own.specimen, first if species.frame == "first" else None)
        first = first or unit.frame
        for variant in _variants(species):
            made = [changed(unit, changes, species.name) for changes in variant.changes]
            for structure in made:
                check_size(structure.atoms, own)
            states = tuple(build_structure(structure, own.specimen.belt, own) for structure in made)
            symmetry = species.symmetry or _symmetry(unit, species, own.specimen.symmetry)
            kinds.append(Kind(variant.name, variant.fraction, symmetry, states, variant.angles_deg))
            structures.append((made[0], own))
            touched += [structure.touched for structure in made]
    fragments = _fragments(settings, structures) if settings.junk.broken else ()
    return Mixture(tuple(kinds), fragments, _focus(touched, settings))


def _variants(species: Species) -> list[_Variant]:
    """The classes that a species stands for: one, or one for each of several angles."""
    changes = species.changes
    several = [(k, c) for k, c in enumerate(changes) if isinstance(c, Rotate) and not isinstance(c.angle_deg, float)]
    if not several:
        return [_Variant(species.name, species.fraction, (changes,), None)]
    place, change = several[0]

    def at(angle: float) -> tuple[Change, ...]:
        return (*changes[:place], change.model_copy(update={"angle_deg": angle}), *changes[place + 1 :])

    if isinstance(change.angle_deg, AngleRange):
        motion = change.angle_deg
        angles = tuple(np.linspace(motion.first, motion.last, motion.steps).tolist())
        return [_Variant(species.name, species.fraction, tuple(at(angle) for angle in angles), angles)]
    listed = change.angle_deg if isinstance(change.angle_deg, tuple) else (change.angle_deg,)
    share = species.fraction / len(listed)
    return [_Variant(f"{species.name}_{k}", share, (at(angle),), None) for k, angle in enumerate(listed, start=1)]


def _symmetry(unit: Unit, species: Species, symmetry: str) -> str:
    """Point group of a species: changes keep it where symmetry copies them and they are in every copy."""
    symmetric = not species.changes or (len(unit.rotations) > 1 and all(not c.select.copies for c in species.changes))
    return symmetry if symmetric else "C1"


def _fragments(settings: SimulateConfig, whole: Sequence[tuple[Structure, SimulateConfig]]) -> tuple[Particle, ...]:
    """Broken particles, of each species in turn."""
    generator = junk_generator(settings.seed, _NO_MICROGRAPH, JUNK_KINDS.index("broken"))
    made = []
    for number in range(settings.junk.fragments):
        structure, own = whole[number % len(whole)]
        made.append(build_structure(broken(structure, generator), own.specimen.belt, own))
    return tuple(made)


def _focus(touched: Sequence[Atoms], settings: SimulateConfig) -> Tensor | None:
    """Soft mask around atoms, of none: None."""
    box, pixel = settings.imaging.box_px, settings.imaging.pixel_size_angst
    volume: Tensor | None = None
    for atoms in touched:
        if len(atoms):
            one = excluded_volume(atoms, box, pixel)
            volume = one if volume is None else volume | one
    return None if volume is None else soft_mask(volume, box, pixel, _FOCUS_EXTEND_ANGST, _FOCUS_EDGE_ANGST)
