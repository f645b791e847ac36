"""Every check of the inputs, made before anything runs, with every mistake listed at once and nothing written."""

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from blush.config import RunConfig
from blush.errors import BlushError, Problem, problems_of
from blush.io.check_classes import check_classes, check_unused
from blush.io.check_helix import check_helix
from blush.io.check_images import check_images
from blush.io.check_map import MapScale, check_map
from blush.io.check_stacks import check_stacks
from blush.io.check_table import check_table
from blush.io.check_values import check_values
from blush.io.columns import require
from blush.io.copies import check_contents, drawn_together, expansion
from blush.io.crossings import filaments_together
from blush.io.cs_fields import AS_IT_IS, CsOptions
from blush.io.cs_table import in_cs_words, is_cs
from blush.io.filaments import USED, check_ignored_filaments, with_filaments
from blush.io.noted import check_own
from blush.io.particle_columns import BLOCK, POSE_COLUMNS
from blush.io.particles import ParticleSet, parse_particles, read_particles
from blush.io.star import Table
from blush.io.table import read_table

_LEAST_DIAMETER_PX = 4.0


@dataclass
class Findings:
    """What the checks found.

    Parameters
    ----------
    problems
        Mistakes that forbid a refinement.
    warnings
        What is allowed but seldom meant.
    particles, blocks
        The particles and all their columns, where the table could be read as a whole.
    together
        (n,) number of what each particle is drawn into a half with; None where each is drawn alone.
    """

    problems: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)
    particles: ParticleSet | None = None
    blocks: dict[str, Table] = field(default_factory=dict)
    together: np.ndarray | None = None

    def refuse(self, title: str) -> None:
        """Raise every problem at once, if there is any."""
        if self.problems:
            raise BlushError(f"{title} cannot be used: {len(self.problems)} problem(s)", self.problems)


def check_particles(
    star: Path | str,
    particle_diameter_angst: float | None = None,
    cs: CsOptions = AS_IT_IS,
    used: Collection[str] = (),
) -> Findings:
    """Check a particle table, its stacks and every image in them.

    Parameters
    ----------
    particle_diameter_angst
        Images are background outside this circle; 0.75 of the box where it is not given.
    cs
        How a table of cryoSPARC is read.
    used
        Columns that the job uses, and others do not.
    """
    star = Path(star)
    findings = Findings()
    try:
        check_own(star)
        blocks = read_table(star, cs, findings.problems, findings.warnings)
    except BlushError as error:
        findings.problems += problems_of(error)
        return findings
    _check_table_and_images(findings, blocks, star, particle_diameter_angst, used)
    if is_cs(star):
        findings.problems = in_cs_words(findings.problems)
        findings.warnings = in_cs_words(findings.warnings)
    return findings


def _check_table_and_images(
    findings: Findings,
    blocks: dict[str, Table],
    star: Path,
    particle_diameter_angst: float | None,
    used: Collection[str],
) -> None:
    """Add to the findings what the table holds, and what its images do."""
    particles = parse_particles(blocks, star, findings.problems)
    if particles is not None:
        findings.particles, findings.blocks = particles, blocks
        findings.problems += check_table(particles, blocks["particles"], star)
        findings.warnings += [*check_values(particles, blocks, star, used), *_expanded(particles, star)]
        readable, problems = check_stacks(particles, blocks["particles"], star)
        findings.problems += problems
        problems, warnings, digests = check_images(particles.take(readable), readable, star, particle_diameter_angst)
        findings.problems += problems
        findings.warnings += warnings
        if len(digests) == len(particles):
            findings.particles = replace(particles, image_digest=digests)
        if not findings.problems:
            findings.problems += check_contents(findings.particles, blocks["particles"], star)


def cs_options(config: RunConfig) -> CsOptions:
    """How the particles of a run are read, where they are a table of cryoSPARC."""
    wanted = config.cryosparc
    passthrough = None if wanted.passthrough == "auto" else wanted.passthrough
    return CsOptions(wanted.project, passthrough, wanted.aberrations == "leave_out")


def check_inputs(config: RunConfig) -> Findings:
    """Check all that a configuration names, and its settings against the particles."""
    used = USED if config.job == "helix" else ()
    findings = check_particles(config.particles, config.particle_diameter_angst, cs_options(config), used)
    particles = findings.particles
    # no map can be compared with particles of no pixel size, which are refused already
    like = particles.optics[0] if particles and particles.optics[0].pixel_size_angst > 0 else None
    diameter = config.particle_diameter_angst
    scale = MapScale("reference_pixel_size_angst", config.reference_pixel_size_angst, like, diameter)
    findings.problems += check_map(config.reference, "reference", scale=scale)
    for k, path in enumerate(config.classification.references if config.job == "classify" else (), 1):
        findings.problems += check_map(path, f"reference of class {k}", scale=scale)
    if isinstance(config.mask, Path):
        scale = MapScale("mask_pixel_size_angst", config.mask_pixel_size_angst, like, diameter)
        findings.problems += check_map(config.mask, "mask", is_mask=True, scale=scale)
    if isinstance(config.postprocess.mask, Path):
        findings.problems += check_map(config.postprocess.mask, "mask", like=like, is_mask=True)
    if config.truth is not None:
        findings.problems += check_map(config.truth.map, "true map", like=like)
        findings.problems += _check_true_poses(config.truth.particles, particles)
        if config.truth.mask is not None:
            findings.problems += check_map(config.truth.mask, "mask of the truth", like=like, is_mask=True)
    findings.warnings += check_unused(config)
    if particles is not None:
        findings.problems += _check_settings(config, particles)
        findings.problems += _check_expansion(config, particles)
        if config.job == "helix":
            _read_filaments(config, findings, particles)
        else:
            findings.warnings += check_ignored_filaments(findings.blocks["particles"], Path(config.particles))
            findings.together = drawn_together(particles, findings.blocks["particles"])
        if config.job == "classify":
            problems, warnings = check_classes(config, particles, findings.blocks["particles"])
            findings.problems += problems
            findings.warnings += warnings
    return findings


def _read_filaments(config: RunConfig, findings: Findings, particles: ParticleSet) -> None:
    """Add to the findings the columns of filaments, and what is wrong with them or with the helix."""
    star, problems, warnings = Path(config.particles), findings.problems, findings.warnings
    found, completed = with_filaments(particles, findings.blocks, star, problems, warnings)
    findings.particles, findings.blocks = found, findings.blocks | {"particles": completed}
    findings.problems += check_helix(config, found)
    radius = (config.helix.tube_diameter_angst or 0.0) / 2
    findings.together = filaments_together(found, findings.blocks, star, radius, problems, warnings)


def _check_settings(config: RunConfig, particles: ParticleSet) -> list[Problem]:
    """Settings that only the particles can prove wrong."""
    problems: list[Problem] = []
    optics = particles.optics[0]
    width_angst = optics.box_px * optics.pixel_size_angst
    if config.particle_diameter_angst > width_angst > 0:
        remedy = f"give at most {width_angst:g}, or extract with a larger box"
        value = f"{config.particle_diameter_angst:g} Å in a box of {width_angst:g} Å"
        message = "particle is wider than its box"
        problems.append(Problem(message, remedy, where="particle_diameter_angst", value=value))
    if config.particle_diameter_angst < _LEAST_DIAMETER_PX * optics.pixel_size_angst:
        remedy = "give it in Å"
        value = f"{config.particle_diameter_angst:g} Å, with pixels of {optics.pixel_size_angst:g} Å"
        problems.append(
            Problem("particle is smaller than a few pixels", remedy, where="particle_diameter_angst", value=value)
        )
    if config.sampling.offset_range_px > optics.box_px / 2 > 0:
        remedy = f"give at most {optics.box_px // 2}; 5 is usual"
        value = f"{config.sampling.offset_range_px:g} px in a box of {optics.box_px} px"
        message = "search for offsets leaves the image"
        problems.append(Problem(message, remedy, where="sampling.offset_range_px", value=value))
    if config.initial_lowpass_angst > width_angst > 0:
        remedy = "give less; 40 is usual"
        value = f"{config.initial_lowpass_angst:g} Å in a box of {width_angst:g} Å"
        message = "filter leaves nothing of the reference"
        problems.append(Problem(message, remedy, where="initial_lowpass_angst", value=value))
    if config.initial_lowpass_angst < 2 * optics.pixel_size_angst:
        remedy = f"give at least {2 * optics.pixel_size_angst:g} Å; 40 is usual"
        value = f"{config.initial_lowpass_angst:g} Å"
        message = "filter is beyond the Nyquist limit of the particles"
        problems.append(Problem(message, remedy, where="initial_lowpass_angst", value=value))
    if config.refinement.start_from == "poses" and not particles.has_poses:
        remedy = "add them, or set refinement.start_from: global"
        message = "has no poses to start from: rlnAngleRot, rlnAngleTilt or rlnAnglePsi is missing"
        problems.append(Problem(message, remedy, str(config.particles), "data_particles"))
    return problems


def _expanded(particles: ParticleSet, star: Path) -> list[Problem]:
    """A warning where images are listed several times: they are no more data than once."""
    if (found := expansion(particles)) is None:
        return []
    message = "images are listed several times with other poses; all rows of an image are kept in one half"
    return [Problem(message, "expected after symmetry expansion alone", str(star), BLOCK, found)]


def _check_expansion(config: RunConfig, particles: ParticleSet) -> list[Problem]:
    """Copies by symmetry differ by their poses alone: a global search, or the symmetry itself, would undo that."""
    found = expansion(particles)
    keeps = config.refinement.start_from == "poses"
    setting = "refinement.start_from: poses"
    if config.job == "classify":
        keeps, setting = config.classification.search != "global", "classification.search: given"
    if found is None or (config.symmetry == "C1" and keeps):
        return []
    message = "images are listed several times with other poses, as after symmetry expansion"
    remedy = f"set symmetry: C1 and {setting}; or give the table from before the expansion, with each image once"
    return [Problem(message, remedy, str(config.particles), BLOCK, found)]


def _check_true_poses(star: Path, particles: ParticleSet | None) -> list[Problem]:
    """The truth needs the three angles of every particle, row by row; it is read as at the end of a run."""
    try:
        true, blocks = read_particles(star, find_stacks=False)
    except BlushError as error:
        return problems_of(error)
    problems: list[Problem] = []
    require(blocks["particles"], POSE_COLUMNS, BLOCK, star, problems)
    if particles is not None and len(true) != len(particles):
        remedy = "give the true poses of these particles, in the same order"
        value = f"{len(true)} rows for {len(particles)} particles"
        problems.append(Problem("true poses do not belong to the particles", remedy, str(star), BLOCK, value))
    return problems
