"""After the last iteration: masked FSC, sharpened map, local resolution, directions, truth if known, summary."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from blush.config import RunConfig
from blush.errors import BlushError
from blush.fourier.grid import resolution_angst
from blush.fourier.limits import limited_by, nyquist_angst
from blush.io.files import load_npz, write_json
from blush.io.mrc import read_volume
from blush.io.noted import NOTES
from blush.io.particles import ParticleSet, read_particles
from blush.jobs.inputs import POSE_COLUMNS, environment, latest_state, read_config, read_frozen_particles
from blush.jobs.layout import RunFolder, Stopwatch
from blush.jobs.orientation import FILE, Source, last_views, measure, write_curves
from blush.jobs.sealed import checked, note
from blush.jobs.summary import write_summary
from blush.maximization.halves import join_shell
from blush.refine.schedule import angular_step_deg
from blush.refine.state import State
from blush.refine.subset import HALVES, Subset
from blush.validate.compare import compare_with_truth
from blush.validate.doubts import Evidence, doubts
from blush.validate.local_resolution import local_resolution_files
from blush.validate.postprocess import Postprocessed, Sharpening
from blush.validate.postprocess_files import MaskSource, postprocess_files


@dataclass
class Ending:
    """What a job measures at its end beside what every refinement does; here nothing more.

    A job with an end of its own has a class of its own, which its step `finish` names.
    """

    folder: RunFolder
    config: RunConfig
    state: State

    def doubts_of_directions(self, warnings: list[str]) -> list[str]:
        """What of the doubts about views and resolution by direction means something here."""
        return warnings

    def mask(self) -> Path | None:
        """Mask in which the halves are compared; None: one is made from them."""
        options = self.config.postprocess
        return options.mask if isinstance(options.mask, Path) else None

    def measured(self) -> dict[str, Any]:
        """Numbers for the summary, by name, with more `warnings`; files are written on the way."""
        return {"warnings": []}

    def compared(self) -> dict[str, Any]:
        """Map and poses against the truth of simulated data; empty for real data."""
        truth = self.config.truth
        if truth is None:
            return {}
        volumes = [read_volume(path)[0] for path in (self.final_map, truth.map)]
        mask = None if truth.mask is None else torch.from_numpy(read_volume(truth.mask)[0])
        true: ParticleSet = read_particles(truth.particles, find_stacks=False)[0]
        volume, wanted = (torch.from_numpy(v) for v in volumes)
        facts = self.state.facts
        return compare_with_truth(volume, wanted, mask, facts.pixel_size_angst, self.found, true, facts.symmetry)

    @property
    def final_map(self) -> Path:
        """The map of all particles."""
        return checked(self.folder, self.folder.map(None, Subset.ALL, "final"))

    @property
    def found(self) -> ParticleSet:
        """Particles with the poses of the end."""
        poses = load_npz(checked(self.folder, self.folder.poses(self.state.iteration)))
        columns: dict[str, Any] = {name: poses[name] for name in POSE_COLUMNS}
        return replace(read_frozen_particles(self.folder.root), **columns)


def postprocess(root: Path, kind: type[Ending] = Ending) -> Path:
    """Write RUN/postprocess and RUN/summary.json.

    Parameters
    ----------
    kind
        What a job measures beside.

    Raises
    ------
    BlushError
        If the refinement has not finished.
    """
    folder, watch = RunFolder(root), Stopwatch()
    state = latest_state(root)
    if state is None or not state.converged:
        raise BlushError(f"{root} has not finished refining; run the same command again to continue it")
    config = read_config(root)
    environment(config)
    ending = kind(folder, config, state)
    options, target = config.postprocess, root / "postprocess"
    target.mkdir(exist_ok=True)
    source = MaskSource(
        path=ending.mask(),
        particle_diameter_angst=config.particle_diameter_angst,
        lowpass_angst=options.mask_lowpass_angst,
        extend_px=options.mask_extend_px,
        edge_px=options.mask_edge_px,
    )
    # The images were divided by the detector's response before back-projection, so the map is not.
    sharpening = Sharpening(
        adhoc_bfactor_angst2=options.adhoc_bfactor_angst2,
        autob_lowres_angst=options.autob_lowres_angst,
        autob_highres_angst=options.autob_highres_angst,
    )
    first, second = (checked(folder, folder.map(None, half, "unfiltered")) for half in HALVES)
    result = postprocess_files(
        target, first, second, source, config.seed, sharpening, randomise_from_fsc=options.randomise_from_fsc
    )
    local_resolution_files(target, first, second, config.seed, None, result.bfactor_angst2)
    names = ["mask.mrc", "postprocess.mrc", "postprocess_masked.mrc", "locres.mrc", "locres_filtered.mrc"]
    made = [target / name for name in (*names, "fsc.xml", "postprocess.star")]
    mask = target / "mask.mrc" if result.mask_used else None
    seen = Source(first, second, mask, last_views(folder, state), state.facts.symmetry, config.seed)
    directions = measure(seen, result.curves.corrected)
    made.append(write_curves(target / FILE, directions.orientation, seen))
    compared = target / "truth.json"
    if truth := ending.compared():
        write_json(compared, truth)
        made.append(compared)
    else:
        compared.unlink(missing_ok=True)  # of an earlier configuration: the report would show it
    (target / NOTES).unlink(missing_ok=True)
    note(folder, made)
    folder.log(iteration=state.iteration, stage="postprocess", done=1, total=1, **watch.read())
    own = ending.measured()
    found = [
        *doubts(_evidence(config, state, result)),
        *ending.doubts_of_directions(directions.warnings),
        *own.pop("warnings"),
    ]
    measured = _measured(result, state, found) | directions.record() | own
    summary = write_summary(folder, config, state, measured, truth)
    note(folder, [summary])
    return summary


def _evidence(config: RunConfig, state: State, result: Postprocessed) -> Evidence:
    """What bears on whether the resolution can be believed."""
    facts, search = state.facts, state.search
    join_angst = config.refinement.low_resolution_join_angst
    joined = join_shell(facts.box_px, facts.pixel_size_angst, join_angst, result.resolution_angst)
    return Evidence(
        resolution_angst=result.resolution_angst,
        particle_diameter_angst=facts.particle_diameter_angst,
        accuracy_rotation_deg=state.references.best_accuracy_rotation_deg,
        accuracy_offset_angst=state.references.best_accuracy_offset_angst,
        change_rotation_deg=state.change_rotation_deg,
        fine_step_deg=angular_step_deg(search.healpix_order, search.oversampling),
        first_grid=not search.local and search.healpix_order == state.control.initial_healpix_order,
        average_pmax=state.average_pmax,
        joined_angst=resolution_angst(joined, facts.box_px, facts.pixel_size_angst),
    )


def _measured(result: Postprocessed, state: State, doubts: list[str]) -> dict[str, Any]:
    """Plain numbers of postprocessing."""
    box = (state.facts.box_px, state.facts.pixel_size_angst)
    fitted = result.fit if result.fit is not None and result.bfactor_angst2 == result.fit.bfactor_angst2 else None
    return {
        "resolution_angst": _finite(result.resolution_angst),
        "limited_by": limited_by(result.resolution_angst, *box),
        "nyquist_angst": nyquist_angst(*box),
        "unmasked_resolution_angst": _finite(result.unmasked_resolution_angst),
        "unmasked_limited_by": limited_by(result.unmasked_resolution_angst, *box),
        "mask_used": result.mask_used,
        "bfactor_angst2": result.bfactor_angst2,
        "bfactor_fit_angst": None if fitted is None else [fitted.lowest_angst, fitted.highest_angst],
        "warnings": [*doubts, *result.warnings],
    }


def _finite(value: float) -> float | None:
    """The value, or None where nothing was resolved."""
    return value if math.isfinite(value) else None
