"""Which settings decide the course of a refinement, and taking up changes of the others while one is under way."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from blush.config import RunConfig, load_config
from blush.config.files import checked as checked_settings
from blush.config.files import merged
from blush.config.input_file import unreadable
from blush.errors import BlushError, Problem
from blush.io import seal
from blush.io.check import cs_options
from blush.io.cs_fields import table_files
from blush.io.cs_table import is_cs
from blush.io.files import read_json, write_json
from blush.io.seal import Owner
from blush.jobs.body_runs import body_config, body_folders, body_root, frozen_of_bodies, which_are_refined
from blush.jobs.consensus import half_maps_of
from blush.jobs.layout import RunFolder
from blush.jobs.sealed import kept, read_identity, run_digest, written
from blush.refine.state import ALGORITHM_VERSION

SETTINGS = "settings.json"
FREE_SECTIONS = ("compute", "postprocess", "truth", "output", "name")
"""They may change at any time ..."""
FREE_REFINEMENT = ("max_iterations", "keep_iterations", "iteration_tables")
"""... and so may these, which take effect from the next iteration on."""
FREE_CLASSIFICATION = ("max_iterations", "verify", "references")
"""The same of a classification; the content of its maps counts, not their names."""
FREE_REGULARISER = ("cpu_minutes", "timeout_minutes")
"""Limits of the settings of a regulariser; they never change what it returns."""
DECISIVE_COMPUTE = ("shards_per_half", "precision", "kernels", "threads_per_worker", "memory_gb")
"""Of `compute`, these change results by rounding: they set the order of sums."""


def input_files(config: RunConfig) -> dict[str, Path]:
    """Files that a refinement starts from, by setting; their content counts, not their name."""
    named = {key: getattr(config, key) for key in ("particles", "reference", "mask")}
    own = enumerate(config.classification.references, 1) if config.job == "classify" else ()
    maps = {f"classification.references.{k}": path for k, path in own}
    if config.job == "multibody":
        maps = {f"multibody.{key}": path for key, path in config.multibody.files.items()} | _half_maps(config)
    files = {key: value for key, value in named.items() if isinstance(value, Path)} | maps
    if is_cs(config.particles):
        files |= {f"passthrough.{k}": path for k, path in enumerate(_passthrough(config), 1)}
    return files


def _half_maps(config: RunConfig) -> dict[str, Path]:
    """Half-maps of the consensus, named or beside its map; none where there are none, which the checks tell."""
    try:
        return {f"multibody.half_maps.{half}": path for half, path in enumerate(half_maps_of(config), 1)}
    except BlushError:
        return {}


def _passthrough(config: RunConfig) -> tuple[Path, ...]:
    """Other files of a table or group of cryoSPARC; none where one cannot be read, which its checks tell."""
    try:
        return table_files(config.particles, cs_options(config))
    except BlushError:
        return ()


def decisive_settings(config: RunConfig) -> dict[str, str]:
    """Every setting, files apart, that decides the course of a refinement, as JSON texts by name."""
    settings = config.model_dump(mode="json")
    refinement, compute = settings.pop("refinement"), settings["compute"]
    left_out = (*FREE_SECTIONS, *input_files(config))
    parts: dict[str, Any] = {f"refinement.{k}": v for k, v in refinement.items() if k not in FREE_REFINEMENT}
    parts |= {key: value for key, value in settings.items() if key not in left_out}
    parts |= {f"compute.{key}": compute[key] for key in DECISIVE_COMPUTE}
    own = ("classification", "cryosparc", "multibody", "helix")
    classification, cryosparc, bodies, helix = (parts.pop(name) for name in own)
    if is_cs(config.particles):
        parts["cryosparc.aberrations"] = cryosparc["aberrations"]
    if config.job == "classify":
        parts |= {f"classification.{k}": v for k, v in classification.items() if k not in FREE_CLASSIFICATION}
    if config.job == "multibody":
        parts["multibody.bodies"] = [{k: v for k, v in body.items() if k != "mask"} for body in bodies["bodies"]]
        parts["multibody.rest"] = bodies["rest"]
    if config.job == "helix":
        parts |= {f"helix.{k}": v for k, v in helix.items()}
    parts["regulariser"] = _regulariser(config)
    parts["algorithm"] = ALGORITHM_VERSION
    return {key: json.dumps(value, sort_keys=True) for key, value in sorted(parts.items())}


def _regulariser(config: RunConfig) -> dict[str, Any]:
    """Name and settings of the regulariser that is used, not of the others; weights by what is in them."""
    chosen = config.regulariser
    kept = ("name", "starts", "fallback", "amplitude", *chosen.used)
    settings = {key: value for key, value in chosen.model_dump(mode="json").items() if key in kept}
    for name in chosen.used:
        path = chosen.weights.get(f"regulariser.{name}.weights")
        if path is not None:
            settings[name]["weights"] = _digest(path)
        if name in settings:
            for key in FREE_REGULARISER:
                settings[name].pop(key, None)
    return settings


def _digest(path: Path) -> str:
    """SHA-256 of a file of weights.

    Raises
    ------
    BlushError
        If it cannot be read: better now than in the first iteration.
    """
    if (problem := unreadable(path)) is not None:
        raise BlushError("the weights cannot be read", [replace(problem, where="regulariser")])
    return file_digest(path)


def take_up(config: RunConfig) -> bool:
    """Bring a run folder's configuration up to date, unless its import has to be made first.

    Returns
    -------
    Whether the folder holds an import of these files, as they are now, with these decisive settings.

    Raises
    ------
    BlushError
        If it holds a refinement of other settings that has started.
    """
    folder = RunFolder(config.run_dir.absolute())
    refuse_other_settings(config)
    write_settings(folder.root / SETTINGS, config)
    known, wanted = read_identity(folder), decisive_settings(config)
    if known is None or not all(kept(each, *paths) for each, paths in frozen_files(folder, config)):
        return False
    if any(known.get(key) != wanted[key] for key in wanted) or _files_changed(config, known):
        return False
    _bring_up_to_date(folder, config)
    for index, body in enumerate(body_folders(folder.root) if config.job == "multibody" else ()):
        own = RunConfig.model_validate(read_json(body.imported / "config.json"))
        _bring_up_to_date(body, body_config(config, folder.root, index, own.particle_diameter_angst))
    return True


def _bring_up_to_date(folder: RunFolder, config: RunConfig) -> None:
    path, content = folder.imported / "config.json", config.model_dump(mode="json")
    if read_json(path) != content:
        with written(folder, path) as beside:
            write_json(beside, content)


def frozen_files(folder: RunFolder, config: RunConfig) -> list[tuple[RunFolder, tuple[Path, ...]]]:
    """Every file that import leaves of this configuration, with the folder of the run or body that it belongs to."""
    classes = len(config.classification.references) if config.job == "classify" else 0
    own = folder.frozen(mask=isinstance(config.mask, Path), classes=classes)
    if config.job != "multibody":
        return [(folder, own)]
    count = len(which_are_refined(config))
    bodies = [RunFolder(body_root(folder.root, index)) for index in range(count)]
    return [
        (folder, (*own, *frozen_of_bodies(folder, count))),
        *((body, (body.identity, *body.frozen(mask=True))) for body in bodies),
    ]


def write_settings(path: Path, config: BaseModel) -> None:
    """Write what the steps of a run read instead of the user's configuration, under a seal."""
    with seal.sealed(path, Owner(run_digest({}), path.name)) as beside:  # before there is an identity
        write_json(beside, config.model_dump(mode="json"))


def read_settings(path: Path) -> dict[str, Any] | None:
    """What `write_settings` wrote; None for any other file, as a configuration of the user's.

    Raises
    ------
    DamagedFile
        If it was changed after it was written.
    """
    if path.name != SETTINGS or not seal.is_sealed(path):
        return None
    seal.verify(path, Owner(run_digest({}), path.name))
    content: dict[str, Any] = read_json(path)
    return content


def run_settings(path: Path, overrides: dict[str, Any] | None = None) -> RunConfig:
    """Settings of a refinement, from the file of a run or a configuration of the user's.

    Parameters
    ----------
    overrides
        Nested values that replace those of the file.
    """
    if (content := read_settings(path)) is None:
        return load_config(path, overrides)
    return checked_settings(RunConfig, merged(content, overrides or {}), path)


def refuse_other_settings(config: RunConfig) -> None:
    """Refuse to continue a run with decisive settings other than it started with; nothing is written.

    Raises
    ------
    BlushError
        With every setting that differs.
    """
    if problems := conflicts(config):
        raise BlushError("this folder holds a refinement of other settings", problems)


def conflicts(config: RunConfig) -> list[Problem]:
    """Why a run folder cannot be continued with this configuration: decisive settings other than it started with."""
    folder = RunFolder(config.run_dir.absolute())
    if not folder.has_started or (known := read_identity(folder)) is None:
        return []
    wanted = decisive_settings(config)
    changed = [key for key in wanted if known.get(key) != wanted[key]]
    return [_changed(folder.root, key, known.get(key), wanted[key]) for key in changed]


def _files_changed(config: RunConfig, known: dict[str, str]) -> bool:
    """Whether the content of an input file is another one; its time and name say nothing."""
    files = input_files(config).items()
    return any(unreadable(path) is not None or known.get(key) != json.dumps(file_digest(path)) for key, path in files)


def file_digest(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _changed(root: Path, key: str, was: str | None, now: str) -> Problem:
    remedy = "give this refinement another `name`, or remove that folder"
    return Problem(f"was {was}, now {now}", remedy, file=str(root), where=key)
