"""`blush init`: the first configuration, from a user's own files."""

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from blush.errors import BlushError, Problem
from blush.report.tell import tell

if TYPE_CHECKING:
    from blush.io.cs_fields import CsOptions
    from blush.jobs.first_inputs import Images

QUESTIONS = {
    "particles": "Particles, a STAR file, or a .cs table or .csg group of cryoSPARC",
    "reference": "Initial map, of any box and pixel size",
    "particle_diameter_angst": "Diameter in Å, a little more than the longest extent of the particle",
    "tube_diameter_angst": "Width of the filament in Å, and some pixels more",
    "symmetry": "Symmetry: C1, D2, O, I1, ...",
    "name": "Name of the run",
}
OPTIONS = {key: f"--{key}" for key in QUESTIONS} | {
    "particle_diameter_angst": "--diameter",
    "tube_diameter_angst": "--tube",
}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("init")(init)


def init(
    config: Annotated[Path, typer.Argument(help="Configuration to write.")] = Path("my.yaml"),
    particles: Annotated[Path | None, typer.Option(help="Particle STAR file; .cs or .csg file of cryoSPARC.")] = None,
    reference: Annotated[Path | None, typer.Option(help="Initial map, of any box and pixel size.")] = None,
    diameter: Annotated[float | None, typer.Option(help="Diameter of the particle in Å.")] = None,
    tube: Annotated[
        float | None, typer.Option(help="Width of the filament in Å, where particles are segments.")
    ] = None,
    symmetry: Annotated[str | None, typer.Option(help="Point group, as C1 or D2.")] = None,
    name: Annotated[str | None, typer.Option(help="Name of the run.")] = None,
    project: Annotated[Path | None, typer.Option(help="Folder of the cryoSPARC project that a .cs file is of.")] = None,
    passthrough: Annotated[
        list[Path] | None, typer.Option(help="File with fields that a .cs file lacks; default: those beside it.")
    ] = None,
    leave_out_aberrations: Annotated[
        bool, typer.Option("--leave-out-aberrations", help="Leave out what cannot be converted of a .cs file.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Ask nothing: take what was found, and C1.")] = False,
    all_settings: Annotated[bool, typer.Option("--all", help="Write every setting, with its default.")] = False,
) -> None:
    """Write a configuration with comments, asking for what cannot be read from the files of this folder."""
    from blush.config.first_file import every_setting, first_yaml
    from blush.io.cs_fields import CsOptions
    from blush.jobs.first_inputs import read_images, read_map_note

    if os.path.lexists(config):
        problem = Problem("exists", "give the new file another name: blush init NAME.yaml", str(config))
        raise BlushError("nothing was written", [problem])
    given = dict(zip(QUESTIONS, (particles, reference, diameter, tube, symmetry, name), strict=True))
    cs = CsOptions(
        None if project is None else project.absolute(),
        tuple(passthrough) if passthrough else None,
        leave_out_aberrations,
    )
    answers = Interview(config, yes, cs).answers(given)
    images = read_images(Path(str(answers["particles"])), cs)
    notes = {
        "name": f"results go to results/{answers['name']}, beside this file",
        "particles": images.note,
        "reference": read_map_note(Path(str(answers["reference"]))),
        "particle_diameter_angst": f"of the circle around the particle; images are {images.extent_angst:.4g} Å wide",
        "symmetry": "Cn, Dn, T, O, I1 to I4, axes as RELION has them",
    }
    if TUBE in answers:
        answers["job"] = "helix"
        notes |= HELIX_NOTES
    keys = [key for key in ORDER if key in answers]
    placed = {key: _from(config, answers[key]) if key in FILES else answers[key] for key in keys}
    step = images.segment_step_angst
    cryosparc = _cryosparc(config, cs)
    text = (
        every_setting(placed, cryosparc)
        if all_settings
        else first_yaml(placed, notes, images.has_poses, step, cryosparc)
    )
    config.parent.mkdir(parents=True, exist_ok=True)
    config.write_text(text, encoding="utf-8")
    tell(f"{config} is written: {images.note}")
    if TUBE in answers:
        tell(f"first:  give helix.rise_angst and helix.twist_deg in {config}; no table has them: docs/helical.md")
    tell(f"next:  blush run {config}      (or only check the input: blush import {config} --check-only)", 7)


FILES = ("particles", "reference")
ORDER = ("name", "job", "particles", "reference", "particle_diameter_angst", "symmetry", "tube_diameter_angst")
TUBE = "tube_diameter_angst"
HELIX_NOTES = {
    "job": "the table has filaments; refine: particles of their own, as if there were none",
    "symmetry": "Cn about the axis of the filament",
}
CIRCLE = 0.9
"""Of the box: diameter of the circle around a segment, where no other is asked for."""


class Interview:
    """Answers to the questions: as given, as found, or as asked for on a terminal."""

    def __init__(self, config: Path, takes_found: bool, cs: "CsOptions") -> None:
        self.cs = cs
        self.takes_found = takes_found
        self.asks = sys.stdin.isatty() and not takes_found
        self.found: dict[str, Sequence[str]] = {"symmetry": ["C1"], "name": [_name_of(config)]}
        self.images: Images | None = None

    def answers(self, given: dict[str, Path | float | str | None]) -> dict[str, str | float]:
        """Every answer.

        Raises
        ------
        BlushError
            Where one that was given is wrong, or some are missing and nobody can be asked.
        """
        from blush.jobs.first_inputs import particle_tables, starting_maps

        here: dict[str, Callable[[Path], list[Path]]] = dict(zip(FILES, (particle_tables, starting_maps), strict=True))
        for key, look in here.items():
            self.found[key] = [str(path) for path in look(Path())] if given[key] is None else []
        made: dict[str, str | float] = {}
        missing: list[Problem | str] = []
        for key in QUESTIONS:
            if key == TUBE and not self.of_filaments(given[key]):
                continue
            answer = given[key]
            if answer is not None:
                made[key] = self.checked(key, answer if isinstance(answer, float) else str(answer))
            elif self.asks:
                made[key] = self.ask(key)
            elif self.takes_found and len(self.found.get(key, ())) == 1:
                made[key] = self.checked(key, self.found[key][0])
            else:
                missing.append(self.missing(key))
        if missing:
            raise BlushError("nothing was written: there is nobody to ask for", missing)
        return made

    def of_filaments(self, tube: Path | float | str | None) -> bool:
        """Whether particles are segments, so that their tube is asked for.

        Raises
        ------
        BlushError
            Where a tube was given for others.
        """
        if self.images is None or self.images.has_filaments:
            return self.images is not None
        if tube is not None:
            raise BlushError(
                "nothing was written", [Problem("the particles are no segments", "leave it out", "--tube")]
            )
        return False

    def ask(self, key: str) -> str | float:
        """One answer from the terminal, asked for until it is right."""
        found = self.found.get(key, ())
        if len(found) > 1:
            tell(f"  found here: {', '.join(found)}")
        default = found[0] if len(found) == 1 else None
        while True:
            answer: str = typer.prompt(QUESTIONS[key], default=default)
            try:
                return self.checked(key, answer.strip())
            except BlushError as error:
                tell(f"  {error}")

    def checked(self, key: str, answer: str | float) -> str | float:
        """An answer that is right."""
        from blush.jobs.first_inputs import check_answer, read_images, read_map_note

        if key in ("particle_diameter_angst", TUBE):
            answer = _number(answer)
        check_answer(key, answer, self.images)
        if key == "particles":
            self.images = read_images(Path(str(answer)), self.cs)
            if self.images.has_filaments:
                self.found["particle_diameter_angst"] = [f"{CIRCLE * self.images.extent_angst:.0f}"]
            self.tell(self.images.note)
        elif key == "reference":
            self.tell(read_map_note(Path(str(answer))))
        return answer

    def tell(self, note: str) -> None:
        """What was read from a file, where somebody looks on."""
        if self.asks:
            tell(f"  {note}")

    def missing(self, key: str) -> Problem:
        """What has to be given, and what could be."""
        found = ", ".join(self.found.get(key, ()))
        remedy = f"found: {found}" if found else "none was found in this folder" if key in FILES else ""
        if found and not self.takes_found and len(self.found[key]) == 1:
            remedy += ", which --yes takes"
        return Problem(QUESTIONS[key], remedy, where=OPTIONS[key])


def _number(answer: str | float) -> str | float:
    try:
        number = float(answer)
    except ValueError:
        return answer  # which the check refuses by name
    return int(number) if number.is_integer() else number


def _name_of(config: Path) -> str:
    """A name for the run: that of its folder, as far as it can be one."""
    folder = config.absolute().parent.name
    kept = "".join(letter if letter.isascii() and (letter.isalnum() or letter in "._-") else "-" for letter in folder)
    return kept.lstrip("._-") or "run"


def _from(config: Path, path: str | float) -> str:
    """A path as the configuration has it: relative where it is below its folder."""
    whole, folder = Path(str(path)).absolute(), config.absolute().parent
    return str(whole.relative_to(folder) if whole.is_relative_to(folder) else whole)


def _cryosparc(config: Path, cs: "CsOptions") -> dict[str, str | list[str]]:
    """Settings of the configuration that say how a table of cryoSPARC is read, where one was given."""
    made: dict[str, str | list[str]] = {}
    if cs.project is not None:
        made["project"] = _from(config, str(cs.project))
    if cs.passthrough is not None:
        made["passthrough"] = [_from(config, str(path)) for path in cs.passthrough]
    if cs.leave_out_aberrations:
        made["aberrations"] = "leave_out"
    return made
