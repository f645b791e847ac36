"""Blush regularisation: a U-net trained on pairs of half-maps, each half through it alone (Kimanius et al. 2024)."""

from __future__ import annotations

import sys
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from blush.denoise.apply import Plan, Precision, denoise_map, plan_patches
from blush.denoise.card import WHITENED
from blush.denoise.tiling import widest_stride
from blush.denoise.unet import UNet3d
from blush.denoise.weights import Weights
from blush.denoise.whitened import denoise_whitened
from blush.errors import BlushError, Problem
from blush.kernels.device import give_back
from blush.regularise.base import Floats, HalfMaps, Outcome, Regulariser, RegulariserError

CPU_FLOP_PER_S = 20e9
"""What one core does of a U-net at least, counting convolutions: measured are 24e9 for a width of 8, 48e9 for 16."""


class Blush(Regulariser):
    """The Blush network on each unregularised half-map, doi:10.1038/s41592-024-02304-8.

    Weights that were trained on whitened Wiener maps are given those (`blush.denoise.whitened`); their halves share
    the FSC, as with the Wiener filter. For a single map without an FSC, SSNR / (1 + SSNR) takes its place.

    Parameters
    ----------
    weights
        Those of a network `blush-unet3d`.
    stride_px
        Step between patches.
    batch
        Patches computed at once.
    precision
        Inside the network.
    cpu_minutes
        Estimated time per iteration on a CPU, both halves, beyond which nothing is computed.
    own_mask
        When what lies outside the mask that the network sees in a half is removed from that half; "finished": from
        maps of files (iteration 0), not in the loop. With weights for whitened maps alone.
    """

    name = "blush"
    couples = "none"
    equivariant = False
    learned = True
    looks_around = True

    def __init__(
        self,
        weights: Weights,
        *,
        stride_px: int = 20,
        batch: int = 4,
        precision: Precision = "auto",
        cpu_minutes: float = 30.0,
        own_mask: Literal["finished", "always", "never"] = "finished",
    ) -> None:
        if not isinstance(weights.network, UNet3d) or weights.card.voxel_size_angst is None:
            problem = Problem("are not those of the Blush network", file=str(weights.file), value=weights.card.arch)
            raise BlushError("cannot use these weights", [problem])
        widest = widest_stride(weights.card.block_px)
        if stride_px > widest:
            remedy = f"give at most {widest} for the patches of {weights.card.block_px} px of these weights"
            problem = Problem(
                "leaves gaps between patches", remedy, None, "regulariser.blush.stride_px", str(stride_px)
            )
            raise BlushError("cannot denoise", [problem])
        self.network, self.weights, self.voxel_size_angst = weights.network, weights, weights.card.voxel_size_angst
        self.stride_px, self.batch, self.precision, self.cpu_minutes = stride_px, batch, precision, cpu_minutes
        self.own_mask = own_mask
        self.whitened = weights.card.input_kind == WHITENED
        if self.whitened:
            self.reads = ("maps", "weights")
            self.takes_alone = "unregularised"
        self.nyquist_angst = 2 * self.voxel_size_angst

    def plan(self, maps: HalfMaps) -> Plan:
        """Grid and patches for these maps."""
        return self._plan(maps.box_px, maps.pixel_size_angst, maps.particle_diameter_angst, maps.device)

    def _plan(
        self, box_px: int, pixel_size_angst: float, particle_diameter_angst: float, device: torch.device | str
    ) -> Plan:
        return plan_patches(
            box_px,
            pixel_size_angst,
            particle_diameter_angst,
            self.voxel_size_angst,
            block_px=self.weights.card.block_px,
            stride_px=self.stride_px,
            device=device,
        )

    def refuses(self, box_px: int, pixel_size_angst: float, particle_diameter_angst: float, device: str) -> str | None:
        """Patches that would take too long on a CPU; the same is asked again of the device that makes the maps."""
        if device != "cpu":
            return None
        return self._too_long(self._plan(box_px, pixel_size_angst, particle_diameter_angst, device))

    def estimated_minutes(self, plan: Plan) -> float:
        """Time of both halves on one core of a CPU."""
        return 2 * plan.n_patches * self.network.forward_flop(plan.block_px) / CPU_FLOP_PER_S / 60

    def regularise(self, maps: HalfMaps) -> Outcome:
        """Each half denoised from its own maps."""
        if self.whitened and not (maps.fsc[1:].any() or maps.tau2[:, 1:].any()):
            raise RegulariserError(
                "these weights are for whitened Wiener maps, which takes the FSC of two half-maps, or τ² of a single "
                "map, and there is neither; use weights for unfiltered maps"
            )
        plan = self.plan(maps)
        if maps.device.type == "cpu" and (reason := self._too_long(plan)) is not None:
            raise RegulariserError(reason)
        self.network.to(maps.device)
        halves = maps.unregularised(0), maps.unregularised(1)
        first = self._denoised(halves[0], maps, 0, plan)
        # A call from another program has one map that stands for both halves.
        second = first if halves[1] is halves[0] else self._denoised(halves[1], maps, 1, plan)
        return Outcome((first, second), self._notes(plan) | ({"own_mask": True} if self._masks(maps) else {}))

    def _too_long(self, plan: Plan) -> str | None:
        minutes = self.estimated_minutes(plan)
        if minutes <= self.cpu_minutes:
            return None
        return (
            f"{2 * plan.n_patches} patches would take an estimated {minutes:.2g} minutes per iteration on a CPU, "
            f"more than regulariser.blush.cpu_minutes: {self.cpu_minutes:g}; use a GPU, a smaller network, a "
            f"regulariser.blush.stride_px of up to {widest_stride(plan.block_px)}, or raise the limit"
        )

    def _denoised(self, volume: Tensor, maps: HalfMaps, half: int, plan: Plan) -> Tensor:
        while True:
            reason = ""
            try:
                return self._in_batches(volume, maps, half, plan)
            except torch.OutOfMemoryError as error:
                reason = str(error).splitlines()[0]
            give_back()  # with the error everything is gone that the map had made
            if self.batch == 1:
                text = f"one patch of {plan.block_px} px does not fit the device's memory; torch says: {reason}"
                raise RegulariserError(text)
            before, self.batch = self.batch, self.batch // 2
            text = f"{before} patches at once did not fit; {self.batch} from here on; torch says: {reason}"
            sys.stderr.write(f"blush: {text}\n")

    def _in_batches(self, volume: Tensor, maps: HalfMaps, half: int, plan: Plan) -> Tensor:
        how: dict[str, Any] = {"batch": self.batch, "precision": self.precision}
        try:
            if self.whitened:
                weights = torch.from_numpy(_wiener_weights(maps, half))
                how["masked"] = self._masks(maps)
                return denoise_whitened(self.network, volume, maps.wiener(half), weights, plan, **how)
            return denoise_map(self.network, volume, plan, **how)
        except ValueError as error:
            raise RegulariserError(str(error)) from None

    def _masks(self, maps: HalfMaps) -> bool:
        """Whether the network's own mask is at work on these maps."""
        return self.whitened and (self.own_mask == "always" or (self.own_mask == "finished" and maps.iteration == 0))

    def _notes(self, plan: Plan) -> dict[str, Any]:
        return {
            "weights_sha256": self.weights.sha256,
            "voxel_size_angst": plan.voxel_size_angst,
            "model_box_px": plan.model_box_px,
            "patches_per_half": plan.n_patches,
        }


def _wiener_weights(maps: HalfMaps, half: int) -> Floats:
    """What a Wiener filter keeps of each shell: the FSC of the halves; without one τ² / (τ² + σ²), which equals it."""
    if maps.fsc[1:].any():
        return maps.fsc.copy()
    signal, noise = maps.tau2[half], maps.sigma2_ref[half]
    total = signal + noise
    known = (total > 0) & np.isfinite(total)
    return np.divide(signal, total, out=np.zeros_like(total), where=known)
