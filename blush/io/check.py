"""Every check of the inputs, made before anything runs, with every mistake listed at once and nothing written."""

from dataclasses import dataclass, field
from pathlib import Path

from blush.config import RunConfig
from blush.errors import BlushError, Problem
from blush.io.check_images import check_images
from blush.io.check_map import check_map
from blush.io.check_stacks import check_stacks
from blush.io.check_table import check_table
from blush.io.legacy import modernise
from blush.io.particles import ParticleSet, parse_particles
from blush.io.star import Table, read_star


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
    """

    problems: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)
    particles: ParticleSet | None = None
    blocks: dict[str, Table] = field(default_factory=dict)

    def refuse(self, title: str) -> None:
        """Raise every problem at once, if there is any."""
        if self.problems:
            raise BlushError(f"{title} cannot be used: {len(self.problems)} problem(s)", self.problems)


def check_particles(star: Path | str, particle_diameter_angst: float | None = None) -> Findings:
    """Check a particle STAR file, its stacks and every image in them.

    Parameters
    ----------
    particle_diameter_angst
        Images are background outside this circle; 0.75 of the box where it is not given.
    """
    star = Path(star)
    findings = Findings()
    try:
        blocks = modernise(read_star(star), star, findings.problems)
    except BlushError as error:
        findings.problems += [problem for problem in error.problems if isinstance(problem, Problem)]
        return findings
    particles = parse_particles(blocks, star, findings.problems)
    if particles is not None:
        findings.particles, findings.blocks = particles, blocks
        findings.problems += check_table(particles, blocks["particles"], star)
        readable, problems = check_stacks(particles, blocks["particles"], star)
        findings.problems += problems
        problems, warnings = check_images(particles.take(readable), readable, star, particle_diameter_angst)
        findings.problems += problems
        findings.warnings += warnings
    return findings


def check_inputs(config: RunConfig) -> Findings:
    """Check all that a configuration names: particles, reference, masks and truth."""
    findings = check_particles(config.particles, config.particle_diameter_angst)
    findings.problems += check_map(config.reference, "reference")
    box = findings.particles.optics[0] if findings.particles else None
    for mask in (config.mask, config.postprocess.mask):
        if isinstance(mask, Path):
            findings.problems += check_map(mask, "mask", like=box, is_mask=True)
    if config.truth is not None:
        findings.problems += check_map(config.truth.map, "true map", like=box)
        if config.truth.mask is not None:
            findings.problems += check_map(config.truth.mask, "mask of the truth", like=box, is_mask=True)
    return findings
