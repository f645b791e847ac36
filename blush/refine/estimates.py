"""What iterations estimate from the images: the image model of each subset, and each subset's model of each reference.

Spectra have N/2 + 1 shells and are variances per real or imaginary component. `None` means "not measured yet".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np

from blush.refine.record import Axes, Floats, freeze_arrays


@dataclass(frozen=True, eq=False)
class ImageModel:
    """How the images of each subset differ from projections.

    Attributes
    ----------
    noise
        (subsets, optics groups, shells) variance.
    scale
        (subsets, groups) grey scale of a group of images against their mean.
    norm_average
        (subsets,) mean norm correction.
    sigma_offset_angst
        (subsets,) width per axis of the prior of offsets.
    """

    noise: Annotated[Floats, Axes("subsets", "optics groups", "shells")]
    scale: Annotated[Floats, Axes("subsets", "groups")]
    norm_average: Annotated[Floats, Axes("subsets")]
    sigma_offset_angst: Annotated[Floats, Axes("subsets")]

    def __post_init__(self) -> None:
        freeze_arrays(self)

    @classmethod
    def first(cls, noise: Floats, n_groups: int, sigma_offset_angst: float) -> ImageModel:
        """The model before anything but the noise was measured.

        Parameters
        ----------
        noise
            (subsets, optics groups, shells) variance per component.
        """
        subsets = len(noise)
        return cls(
            noise=noise,
            scale=np.ones((subsets, n_groups)),
            norm_average=np.ones(subsets),
            sigma_offset_angst=np.full(subsets, sigma_offset_angst),
        )


@dataclass(frozen=True, eq=False)
class ReferenceModel:
    """What is known of each reference.

    Attributes
    ----------
    fsc, fsc_unmasked, ssnr
        (references, shells).
    tau2, sigma2_ref
        (subsets, references, shells) variance of the signal, and of the noise of the map.
    share
        (references,) fraction of the images; 1 for a single reference.
    resolution_angst
        (references,)
    accuracy_rotation_deg, accuracy_offset_angst
        (references,) expected from the noise.
    """

    fsc: Annotated[Floats, Axes("references", "shells")]
    fsc_unmasked: Annotated[Floats, Axes("references", "shells")]
    ssnr: Annotated[Floats, Axes("references", "shells")]
    tau2: Annotated[Floats, Axes("subsets", "references", "shells")]
    sigma2_ref: Annotated[Floats, Axes("subsets", "references", "shells")]
    share: Annotated[Floats, Axes("references")]
    resolution_angst: Annotated[Floats, Axes("references")]
    accuracy_rotation_deg: Annotated[tuple[float | None, ...], Axes("references")]
    accuracy_offset_angst: Annotated[tuple[float | None, ...], Axes("references")]

    def __post_init__(self) -> None:
        freeze_arrays(self)

    @classmethod
    def first(cls, n_references: int, n_subsets: int, n_shells: int, resolution_angst: float) -> ReferenceModel:
        """References of one resolution and equal shares, of which nothing was measured."""
        one, each = (n_references, n_shells), (n_subsets, n_references, n_shells)
        return cls(
            fsc=np.zeros(one),
            fsc_unmasked=np.zeros(one),
            ssnr=np.zeros(one),
            tau2=np.zeros(each),
            sigma2_ref=np.zeros(each),
            share=np.full(n_references, 1 / n_references),
            resolution_angst=np.full(n_references, resolution_angst),
            accuracy_rotation_deg=(None,) * n_references,
            accuracy_offset_angst=(None,) * n_references,
        )

    @property
    def best_accuracy_rotation_deg(self) -> float | None:
        """That of the reference whose views can be told apart best."""
        return _smallest(self.accuracy_rotation_deg)

    @property
    def best_accuracy_offset_angst(self) -> float | None:
        """That of the reference whose position can be told best."""
        return _smallest(self.accuracy_offset_angst)


def _smallest(values: tuple[float | None, ...]) -> float | None:
    return min((value for value in values if value is not None), default=None)
