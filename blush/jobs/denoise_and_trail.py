"""The rule `denoise_and_trail`: from both halves' sums to FSC, spectra and the references of the next iteration."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from blush.config import RunConfig
from blush.fourier.backproject import Accumulator
from blush.io.files import load_npz, save_npz, write_json
from blush.io.mrc import write_volume
from blush.jobs.inputs import environment, read_config
from blush.jobs.layout import SLICES, RunFolder, Stopwatch
from blush.jobs.map_rules import MapRules, Pair
from blush.jobs.reduce import load_sums
from blush.jobs.references import maps_of
from blush.jobs.sealed import checked, kept, written
from blush.maximization.halves import add_halves, half_sum_fsc, join_low_resolution, join_shell
from blush.maximization.reconstruct import reconstruct
from blush.maximization.spectra import reference_noise, signal_to_noise
from blush.refine.state import State, load_state
from blush.refine.subset import HALVES, Subset
from blush.regularise.base import HalfMaps
from blush.regularise.drive import Policy, Regularised, drive
from blush.regularise.select import regulariser
from blush.validate.phase_randomise import solvent_corrected_fsc

Floats = NDArray[np.float64]
DIAGNOSTICS = "diagnostics_json"
SLICE_PX = 128
"""Widest slices that are kept of a map."""


def denoise_and_trail(root: Path, iteration: int, rules: type[MapRules] = MapRules) -> Path:
    """Make the maps of an iteration; after the last, joined one, the final maps.

    Parameters
    ----------
    rules
        What a job knows of its maps.

    Returns
    -------
    The file of spectra, written last: where it exists, so do the maps.
    """
    folder, watch = RunFolder(root), Stopwatch()
    target = folder.spectra(iteration)
    state = load_state(checked(folder, folder.state(iteration - 1)))
    maps = maps_of(folder, iteration, state, final=state.final)
    if kept(folder, target, folder.diagnostics(iteration), *maps):
        return target
    config = read_config(root)
    device, _ = environment(config)
    make = _final_maps if state.final else _references
    spectra, diagnostics = make(rules(folder, config, state), device)
    timing = diagnostics.pop("timing", {})
    diagnostics |= {"iteration": iteration, "final": state.final}
    with written(folder, folder.diagnostics(iteration)) as beside:
        write_json(beside, diagnostics)
    with written(folder, target) as beside:  # the diagnostics once more: they cannot be measured again later
        save_npz(beside, spectra | {DIAGNOSTICS: np.frombuffer(json.dumps(diagnostics).encode(), dtype=np.uint8)})
    folder.log(
        iteration=iteration, stage="denoise_and_trail", done=1, total=1, device=str(device), **watch.read(), **timing
    )
    return target


def central_slices(volume: np.ndarray) -> np.ndarray:
    """Slices across the centre along z, y and x, for the page, of a map that will not be kept: (3, n, n) float32.

    Large ones are averaged in blocks until they are no wider than 128 px.
    """
    box = len(volume)
    side = -(-box // SLICE_PX)
    kept = box - box % side
    cuts = np.stack([np.take(volume, box // 2, axis)[:kept, :kept] for axis in range(3)]).astype(np.float32)
    blocks: np.ndarray = cuts.reshape(3, kept // side, side, kept // side, side).mean((2, 4), dtype=np.float32)
    return blocks


def restore_diagnostics(root: Path, iteration: int) -> Path:
    """Write the diagnostics of an iteration again, from the copy among its spectra."""
    folder = RunFolder(root)
    target = folder.diagnostics(iteration)
    copy = load_npz(checked(folder, folder.spectra(iteration)))[DIAGNOSTICS]
    with written(folder, target) as beside:
        write_json(beside, json.loads(copy.tobytes()))
    return target


def _load(folder: RunFolder, state: State, device: torch.device) -> Pair:
    """D and W of both halves, after the iteration that follows `state`."""
    one, two = (load_sums(folder, state.iteration + 1, half, state.facts.box_px, device) for half in HALVES)
    return one, two


def _references(rules: MapRules, device: torch.device) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Order of docs/algorithm.md, section 5: join, FSC, tau2, regularise, filter after cross-correlation, flatten."""
    folder, config, state = rules.folder, rules.config, rules.state
    facts, search, iteration = state.facts, state.search, state.iteration + 1
    shell = _shared_shell(config, state)
    joined = join_low_resolution(*rules.symmetric(_load(folder, state, device)), shell)
    mask = rules.solvent_mask(add_halves(*joined), shell)
    watch = Stopwatch()
    made, spectra = regularised(
        config, state, joined, mask, folder.scratch(iteration), rules.fsc_mask(mask), rules.continued()
    )
    seconds = watch.read()
    seen = []
    for half, reference in zip(HALVES, made.references, strict=True):
        if search.first_cc:
            reference = rules.after_cross_correlation(half, reference)
        masked = (rules.repeated(reference) * mask).cpu().numpy()
        with written(folder, folder.map(iteration, half, "reference")) as beside:
            write_volume(beside, masked, facts.pixel_size_angst)
        seen.append(central_slices(masked))
    return spectra | rules.found() | {SLICES: np.mean(seen, axis=0, dtype=np.float32)}, {
        "regulariser": made.diagnostics,
        "join_shell": shell,
        "timing": {f"regulariser_{key}": seconds[key] for key in ("seconds", "cpu_seconds")},
    }


def regularised(
    config: RunConfig,
    state: State,
    pair: Pair,
    mask: Tensor,
    scratch: Path,
    fsc_mask: Tensor | None = None,
    continued: Callable[[Tensor], Tensor] | None = None,
) -> tuple[Regularised, dict[str, Floats]]:
    """References from the sums of two halves by the regulariser that was asked for, and the halves' spectra.

    Parameters
    ----------
    state
        The one before the iteration that made the sums.
    scratch
        Folder for what the regulariser exchanges with another program.
    fsc_mask
        Where the halves are compared; None: in `mask`.
    continued
        What fills the ends of a map that repeats (`HalfMaps.continued`).
    """
    facts, search = state.facts, state.search
    maps = [cache(_maker(half, None)) for half in pair]
    fsc, unmasked = half_map_fsc(config, state, pair, mask if fsc_mask is None else fsc_mask, maps)
    noise = np.stack([reference_noise(half) for half in pair])
    ssnr = signal_to_noise(fsc, joined=False)
    tau2 = ssnr * noise
    wiener = [cache(_maker(half, tau2[index])) for index, half in enumerate(pair)]
    given = HalfMaps(
        sums=pair,
        fsc=fsc,
        fsc_unmasked=unmasked,
        tau2=tau2,
        sigma2_ref=noise,
        unregularised=lambda h: maps[h](),
        wiener=lambda h: wiener[h](),
        pixel_size_angst=facts.pixel_size_angst,
        particle_diameter_angst=facts.particle_diameter_angst,
        symmetry=facts.symmetry,
        mask=mask,
        iteration=state.iteration + 1,
        local=search.local,
        healpix_order=search.healpix_order,
        current_size_px=search.current_size_px,
        seed=facts.seed * 1000 + state.iteration,
        scratch=scratch,
        continued=continued,
    )
    spectra = {"fsc": fsc, "fsc_unmasked": unmasked, "ssnr": ssnr, "tau2": tau2, "sigma2_ref": noise}
    return _drive(config, given), spectra


def _shared_shell(config: RunConfig, state: State) -> int:
    """Shell up to which both halves hold the same."""
    facts, join_angst = state.facts, config.refinement.low_resolution_join_angst
    return join_shell(facts.box_px, facts.pixel_size_angst, join_angst, state.resolution_angst)


def _drive(config: RunConfig, given: HalfMaps) -> Regularised:
    """Run the regulariser that was asked for."""
    policy = Policy(
        trailing_shells=config.trailing.shells if config.trailing.enabled else None,
        starts=config.regulariser.starts,
        fallback=config.regulariser.fallback,
        amplitude=config.regulariser.amplitude,
        certified=config.regulariser.certificate,
        jacobian_passes=config.regulariser.jacobian_passes,
    )

    def announce(text: str) -> None:
        sys.stderr.write(f"blush: warning: {text}\n")

    return drive(regulariser(config.regulariser), given, policy, announce)


def _maker(half: Accumulator, tau2: Floats | None) -> Callable[[], Tensor]:
    return lambda: reconstruct(half, tau2)


def _final_maps(rules: MapRules, device: torch.device) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Unregularised, unjoined halves; their FSC; and the Wiener-filtered map of all particles."""
    folder, config, state = rules.folder, rules.config, rules.state
    halves = rules.symmetric(_load(folder, state, device))
    mask = rules.fsc_mask(rules.solvent_mask(add_halves(*halves), _shared_shell(config, state)))
    maps = [cache(_maker(half, None)) for half in halves]
    fsc, unmasked = half_map_fsc(config, state, halves, mask, maps)
    for half, unfiltered in zip(HALVES, maps, strict=True):
        with written(folder, folder.map(None, half, "unfiltered")) as beside:
            write_volume(beside, unfiltered().cpu().numpy(), state.facts.pixel_size_angst)
    total = add_halves(*halves)
    del halves, maps, unfiltered  # the largest arrays of a refinement
    ssnr = signal_to_noise(fsc, joined=True)
    noise = reference_noise(total)
    tau2 = ssnr * noise
    final = reconstruct(total, tau2).cpu().numpy()
    with written(folder, folder.map(None, Subset.ALL, "final")) as beside:
        write_volume(beside, final, state.facts.pixel_size_angst)
    spectra = rules.found() | {
        SLICES: central_slices(final),
        "fsc": fsc,
        "fsc_unmasked": unmasked,
        "ssnr": ssnr,
        "tau2": np.stack([tau2, tau2]),
        "sigma2_ref": np.stack([noise, noise]),
    }
    return spectra, {"join_shell": 0}


def half_map_fsc(
    config: RunConfig, state: State, halves: Pair, mask: Tensor, maps: Sequence[Callable[[], Tensor]]
) -> tuple[Floats, Floats]:
    """FSC that drives the refinement, and the plain one; zero beyond the current size."""
    unmasked = half_sum_fsc(*halves)
    if not config.refinement.solvent_correct_fsc:
        return unmasked, unmasked
    seed = state.facts.seed * 1000 + state.iteration
    fsc = solvent_corrected_fsc(maps[0](), maps[1](), mask, seed).cpu().numpy().astype(np.float64)
    fsc[state.search.current_size_px // 2 + 1 :] = 0.0
    return fsc, unmasked
