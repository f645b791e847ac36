"""The maps of an iteration of a classification: from sums of every class and fold to the next references."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from blush.config import RunConfig
from blush.fourier.backproject import Accumulator
from blush.fourier.filter import low_pass
from blush.fourier.mask import soft_sphere
from blush.io.files import load_npz, save_npz, write_json
from blush.io.mrc import read_volume, write_volume
from blush.jobs.class_parts import classes_of_run
from blush.jobs.denoise_and_trail import DIAGNOSTICS, regularised
from blush.jobs.inputs import environment, read_config, read_plan
from blush.jobs.layout import RunFolder, Stopwatch
from blush.jobs.map_rules import MASK_EDGE_PX
from blush.jobs.reduce import load_sums
from blush.jobs.references import fields_of, maps_of, n_references
from blush.jobs.sealed import checked, kept, written
from blush.maximization.cells import Cells, map_size, noise_of
from blush.maximization.class_sums import ClassSums
from blush.maximization.classes import class_prior, class_references, mean_map, spectrum_references
from blush.maximization.halves import join_low_resolution, join_shell
from blush.maximization.spectra import signal_to_noise
from blush.refine.classify import alone
from blush.refine.control import ClassifyControl
from blush.refine.state import State, load_state
from blush.refine.subset import Subset

Arrays = dict[str, np.ndarray]
LEAST_RADIUS_OF_PARTS = 27
"""Shells that a map resolves at least where it is divided into parts, if the images do."""


def make_maps(root: Path, iteration: int) -> Path:
    """Make the references of the next iteration: of all images, and without every fold.

    Returns
    -------
    The file of spectra, written last: where it exists, so do the maps.
    """
    folder, watch = RunFolder(root), Stopwatch()
    target = folder.spectra(iteration)
    state = load_state(checked(folder, folder.state(iteration - 1)))
    config = read_config(root)
    count = config.classification.n_classes if splits(state) else n_references(state)
    made = maps_of(folder, iteration, state, final=False, count=count) + fields_of(folder, iteration, state, count)
    if kept(folder, target, folder.diagnostics(iteration), *made):
        return target
    device, _ = environment(config)
    usual = _by_difference if config.regulariser.name == "wiener" else _by_regulariser
    if config.classification.prior == "spectrum":
        usual = _by_spectrum
    if alone(state):
        usual = _of_mean
    make = _first if splits(state) else usual
    sums = class_sums(folder, state, device, _map_px(state, config))
    spectra, found = make(folder, config, state, sums)
    diagnostics = {"iteration": iteration, "final": False, "prior": config.classification.prior, **found}
    with written(folder, folder.diagnostics(iteration)) as beside:
        write_json(beside, diagnostics)
    with written(folder, target) as beside:  # the diagnostics once more: they cannot be measured again later
        save_npz(beside, spectra | {DIAGNOSTICS: np.frombuffer(json.dumps(diagnostics).encode(), dtype=np.uint8)})
    folder.log(iteration=iteration, stage="maps", done=1, total=1, device=str(device), **watch.read())
    return target


def class_sums(folder: RunFolder, state: State, device: torch.device, map_px: int | None) -> ClassSums:
    """D and W of every class and fold, of the iteration after `state`.

    Parameters
    ----------
    map_px
        Voxels along the maps that are made of them; None: as many as images have pixels.
    """
    n, box_px, plan = state.iteration + 1, state.facts.box_px, read_plan(folder.root)

    def of(fold: int) -> Iterator[Accumulator]:
        return (load_sums(folder, n, Subset.ALL, box_px, device, fold, k) for k in range(n_references(state)))

    return ClassSums.pack((of(fold) for fold in range(plan.n_folds)), map_px, apart=keeps_halves_apart(state))


def keeps_halves_apart(state: State) -> bool:
    """Whether images of a half are compared with maps of their half alone.

    They are where poses are searched with maps of several classes from the beginning: images of both halves that align
    to one map agree on its noise, and no FSC would show it. Poses that were found with a single map were found apart.
    """
    return state.control_of(ClassifyControl).splits_at == 0 and not state.search.fixed


def _map_px(state: State, config: RunConfig) -> int | None:
    """Voxels along the maps that are worked on; where the density is divided into parts, these have to be fine."""
    whole = alone(state) or config.classification.prior == "spectrum" or config.regulariser.name != "wiener"
    if whole and not splits(state):
        return None
    radius = state.search.current_size_px // 2
    return map_size(state.facts.box_px, max(radius, LEAST_RADIUS_OF_PARTS) if splits(state) else radius)


def class_mask(folder: RunFolder, config: RunConfig, state: State, like: Tensor) -> Tensor:
    """(N, N, N) the mask that was given, or a sphere of the particle's diameter."""
    facts = state.facts
    if isinstance(config.mask, Path):
        volume, _ = read_volume(checked(folder, folder.imported / "mask.mrc"))
        return torch.from_numpy(volume).to(like)
    radius_px = facts.particle_diameter_angst / (2 * facts.pixel_size_angst)
    return soft_sphere(facts.box_px, radius_px, MASK_EDGE_PX).to(like)


def shares_of(folder: RunFolder, state: State) -> np.ndarray:
    """(K,) fraction of the images in every class in the iteration after `state`, by posterior."""
    path = checked(folder, folder.statistics(state.iteration + 1, Subset.ALL))
    shares: np.ndarray = load_npz(path, starts=("shares",))["shares"]
    return shares / shares.sum()


def _write(
    folder: RunFolder, state: State, maps: list[Tensor], without: int | None, filter_angst: float | None, cells: Cells
) -> None:
    """Write the references that were made, filtered where the iteration compared by cross-correlation.

    Those of all images, which people look at, have the box of the images.
    """
    extent_angst = state.facts.box_px * state.facts.pixel_size_angst
    for k, volume in enumerate(maps):
        made = volume if filter_angst is None else low_pass(volume, filter_angst, extent_angst / len(volume))
        made = cells.full(made) if without is None else made
        with written(folder, folder.map(state.iteration + 1, Subset.ALL, "reference", k, without)) as beside:
            write_volume(beside, made.cpu().numpy(), extent_angst / len(made))


def _filter_angst(config: RunConfig, state: State) -> float | None:
    """Low-pass filter after a search by cross-correlation, whose poses are good for no more."""
    return config.initial_lowpass_angst if state.search.first_cc and not state.search.fixed else None


def _left_out(folder: RunFolder) -> tuple[int | None, ...]:
    """Folds without which references are made, and None: those of all images."""
    n_folds = read_plan(folder.root).n_folds
    return (None, *(range(n_folds) if n_folds > 1 else ()))


def _fields(folder: RunFolder, state: State, like: Tensor) -> list[Tensor]:
    """By what the mean is multiplied in every class, as the first classes were found; none where they were given."""
    first = state.control_of(ClassifyControl).splits_at
    paths = fields_of(folder, first, state) if first is not None and first <= state.iteration else ()
    return [torch.from_numpy(read_volume(checked(folder, path))[0]).to(like) for path in paths]


def splits(state: State) -> bool:
    """Whether the iteration after `state` is the last one of a single mean map, and makes the first of every class."""
    return state.iteration + 1 == state.control_of(ClassifyControl).splits_at


def _of_mean(folder: RunFolder, config: RunConfig, state: State, sums: ClassSums) -> tuple[Arrays, dict[str, Any]]:
    """The single map of all images, as a refinement makes it: poses of one half say nothing to the other.

    Images are compared with the map of their own half. Halves share the lowest resolutions, which keeps their poses in
    one frame.
    """
    facts, refinement = state.facts, config.refinement
    shell = join_shell(
        facts.box_px, facts.pixel_size_angst, refinement.low_resolution_join_angst, state.resolution_angst
    )
    halves = join_low_resolution(sums.of(0, sums.half(0)), sums.of(0, sums.half(1)), shell)
    mask = class_mask(folder, config, state, sums.folds[0][0].weight)
    made, spectra = regularised(config, state, halves, mask, folder.scratch(state.iteration + 1))
    first, second = (reference * mask for reference in made.references)
    for without in _left_out(folder):
        volume = (first + second) / 2 if without is None else first if without in sums.half(0) else second
        _write(folder, state, [volume], without, _filter_angst(config, state), sums.cells)
    of_one = {name: spectra[name][None] for name in ("fsc", "ssnr")}
    of_halves = {name: spectra[name].mean(0)[None, None] for name in ("tau2", "sigma2_ref")}
    return of_one | of_halves | {"share": np.ones(1)}, {"regulariser": made.diagnostics}


def _first(folder: RunFolder, config: RunConfig, state: State, sums: ClassSums) -> tuple[Arrays, dict[str, Any]]:
    """Maps of classes from the parts of the mean map."""
    cells = sums.cells
    mask = cells.fit(class_mask(folder, config, state, sums.folds[0][0].weight)).clamp(0, 1)
    prior = class_prior(sums, np.ones(1), mask, config.classification.difference_power)
    found = classes_of_run(folder, config, state, mean_map(sums, prior, None), mask, prior.shell)
    fields = found.fields(cells.map_px)
    for without in _left_out(folder):
        mean = mean_map(sums, prior, without) * mask
        maps = [mean * field for field in fields]
        _write(folder, state, maps, without, _filter_angst(config, state), sums.cells)
    with written(folder, folder.confirmed(state.iteration + 1)) as beside:
        write_volume(beside, cells.full(prior.confirmed * mask).cpu().numpy(), state.facts.pixel_size_angst)
    for k, field in enumerate(fields):
        with written(folder, folder.field(state.iteration + 1, k)) as beside:
            write_volume(beside, cells.full(field).cpu().numpy(), state.facts.pixel_size_angst)
    n = config.classification.n_classes
    spectra = {name: np.repeat(values, n, axis=values.ndim - 2) for name, values in _spectra(sums).items()}
    spectra |= {"fsc_mean": prior.fsc_mean, "tau2_mean": prior.tau2_mean}
    occupancy, share = (x.cpu().numpy() for x in (found.occupancies.occupancy, found.occupancies.share))
    notes = {"parts": len(found.parts), "occupancies": occupancy.tolist(), "confirmed": 0.0,
             "evidence": found.occupancies.evidence}  # fmt: skip
    return spectra | {"share": share}, notes


def _by_difference(
    folder: RunFolder, config: RunConfig, state: State, sums: ClassSums
) -> tuple[Arrays, dict[str, Any]]:
    """Maps as a mean and differences from it; see `blush.maximization.classes`."""
    cells, shares = sums.cells, shares_of(folder, state)
    mask = cells.fit(class_mask(folder, config, state, sums.folds[0][0].weight)).clamp(0, 1)
    fields = [cells.fit(field) for field in _fields(folder, state, mask)]
    prior = class_prior(sums, shares, mask, config.classification.difference_power, fields)
    made, gain = class_references(sums, prior, mask, _left_out(folder))
    for without, maps in made:
        _write(folder, state, maps, without, _filter_angst(config, state), sums.cells)
    with written(folder, folder.confirmed(state.iteration + 1)) as beside:
        write_volume(beside, cells.full(prior.confirmed * mask).cpu().numpy(), state.facts.pixel_size_angst)
    spectra = _spectra(sums) | {"fsc_mean": prior.fsc_mean, "tau2_mean": prior.tau2_mean, "share": shares}
    inside = float((prior.confirmed * mask).double().sum() / mask.double().sum())
    return spectra, {"confirmed": inside, "gains": gain.tolist()}


def _by_regulariser(
    folder: RunFolder, config: RunConfig, state: State, sums: ClassSums
) -> tuple[Arrays, dict[str, Any]]:
    """Maps of every class regularised as a refinement's are; images of a half are compared with the other half's map.

    So no image is compared with a map that it is part of; but where halves are kept apart, with that of its own half.
    The maps of all images are the means of both halves' ones.
    """
    mask = class_mask(folder, config, state, sums.folds[0][0].weight)
    shares, n = shares_of(folder, state), state.iteration + 1
    pairs, notes, found = [], [], []
    for k in range(sums.n_classes):
        halves = sums.of(k, sums.half(0)), sums.of(k, sums.half(1))
        made, spectra = regularised(config, state, halves, mask, folder.scratch(n) / f"class{k + 1:03d}")
        pairs.append([reference * mask for reference in made.references])
        notes.append(made.diagnostics)
        found.append(spectra)
    for without in _left_out(folder):
        if without is None:
            maps = [(first + second) / 2 for first, second in pairs]
        else:
            is_second = without in sums.half(1)
            maps = [pair[is_second if sums.apart else not is_second] for pair in pairs]
        _write(folder, state, maps, without, _filter_angst(config, state), sums.cells)
    curves = {"fsc": np.stack([spectra["fsc"] for spectra in found]), "fsc_mean": sums.fsc[1]}
    return _spectra(sums) | curves | {"share": shares}, {"regularisers": notes}


def _by_spectrum(folder: RunFolder, config: RunConfig, state: State, sums: ClassSums) -> tuple[Arrays, dict[str, Any]]:
    """Maps each under the power of the last one times T, as RELION makes them."""
    mask = class_mask(folder, config, state, sums.folds[0][0].weight)
    last = [
        torch.from_numpy(read_volume(checked(folder, folder.map(state.iteration, Subset.ALL, "reference", k)))[0])
        for k in range(sums.n_classes)
    ]
    made, tau2 = spectrum_references(sums, [volume.to(mask) for volume in last], config.classification.tau2_fudge)
    masked = [volume * mask for volume in made]
    _write(folder, state, masked, None, _filter_angst(config, state), sums.cells)
    spectra = _spectra(sums) | {"share": shares_of(folder, state)}
    ssnr = np.divide(config.classification.tau2_fudge * tau2, spectra["sigma2_ref"][0],
                     out=np.zeros_like(tau2), where=spectra["sigma2_ref"][0] > 0)  # fmt: skip
    return spectra | {"tau2": tau2[None], "ssnr": ssnr}, {"tau2_fudge": config.classification.tau2_fudge}


def _spectra(sums: ClassSums) -> Arrays:
    """FSC of every class between the halves of its images, whose labels are shared; what follows from it."""
    noise = np.stack([noise_of(sums.cells_of(k, sums.without(None))) for k in range(sums.n_classes)])
    fsc, _ = sums.fsc
    ssnr = np.where(fsc > 0, signal_to_noise(fsc, joined=True), 0.0)
    return {"fsc": fsc, "ssnr": ssnr, "tau2": (ssnr * noise)[None], "sigma2_ref": noise[None]}
