"""The configuration of one refinement: one YAML file, checked as a whole before any job runs."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, ValidationError, field_validator

from blush.config.regulariser import RegulariserSettings
from blush.config.sections import (
    Compute,
    Postprocess,
    Refinement,
    Sampling,
    Section,
    Trailing,
    Truth,
)
from blush.errors import BlushError, Problem

_SYMMETRY = re.compile(r"^(C[1-9]\d*|D[1-9]\d*|T|O|I|I[1-4])$")
_PATH_KEYS = (
    ("particles",),
    ("reference",),
    ("mask",),
    ("output",),
    ("postprocess", "mask"),
    ("compute", "scratch"),
    ("compute", "scheduler_file"),
    ("truth", "particles"),
    ("truth", "map"),
    ("truth", "mask"),
    ("regulariser", "blush", "weights"),
    ("regulariser", "cref", "weights"),
    ("regulariser", "localwiener", "weights"),
)
_KEYWORDS = ("auto", "sphere", "shipped")


class RunConfig(Section):
    """One refinement. Relative paths start at the folder of the configuration file."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")] = Field(
        description="Name of the run; its results go to output/name"
    )
    particles: Path = Field(description="Particle STAR file, RELION 3.1 or later")
    reference: Path = Field(description="Initial map, of any box and pixel size")
    mask: Literal["auto", "sphere"] | Path = Field(
        default="auto",
        description="Solvent mask: auto (made from the maps), sphere (of the particle diameter) or a mask file",
    )
    particle_diameter_angst: float = Field(gt=0, description="Diameter of the circle around the particle")
    symmetry: str = Field(default="C1", description="Point group: Cn, Dn, T, O, I or I1 to I4, RELION's settings")
    initial_lowpass_angst: float = Field(default=40.0, gt=0, description="Filter of the reference before iteration 1")
    regulariser: RegulariserSettings = Field(default=RegulariserSettings(), description="Prior of the maps")
    trailing: Trailing = Field(default=Trailing(), description="Cut-off of the references")
    sampling: Sampling = Field(default=Sampling(), description="Poses that are searched")
    refinement: Refinement = Field(default=Refinement(), description="Iterations")
    postprocess: Postprocess = Field(default=Postprocess(), description="Final maps and resolution")
    compute: Compute = Field(default=Compute(), description="Devices, workers, memory")
    truth: Truth | None = Field(default=None, description="Truth of simulated data; null for real data")
    seed: int = Field(default=1, ge=0, le=2**32 - 1, description="Seed of everything random")
    output: Path = Field(default=Path("results"), description="Folder of all runs")

    @field_validator("symmetry")
    @classmethod
    def _known_symmetry(cls, value: str) -> str:
        if not _SYMMETRY.match(value):
            raise ValueError("no such point group; use Cn, Dn, T, O, I, I1, I2, I3 or I4")
        return value

    @property
    def run_dir(self) -> Path:
        """Folder of everything this run writes."""
        return self.output / self.name


def load_config(path: Path | str, overrides: dict[str, Any] | None = None) -> RunConfig:
    """Read and check a configuration.

    Parameters
    ----------
    path
        YAML file; its relative paths start at its folder.
    overrides
        Nested values that replace those of the file, as `{"compute": {"workers": 2}}`.

    Raises
    ------
    BlushError
        With every mistake of the file.
    """
    path = Path(path)
    content = _merged(_read_yaml(path), overrides or {})
    try:
        return RunConfig.model_validate(_resolved(content, path.absolute().parent))
    except ValidationError as error:
        problems = [_problem(detail) for detail in error.errors(include_url=False)]
        raise BlushError(f"{path} has {len(problems)} mistake(s):", problems) from None


def _read_yaml(path: Path) -> dict[str, Any]:
    """Mapping at the top of a YAML file."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        problem = Problem(str(error.strerror), "correct the path", file=str(path))
        raise BlushError("cannot read the configuration", [problem]) from None
    except yaml.YAMLError as error:
        problem = Problem(f"is not YAML: {' '.join(str(error).split())}", "correct its syntax", file=str(path))
        raise BlushError("cannot read the configuration", [problem]) from None
    if not isinstance(content, dict):
        problem = Problem("is not a mapping of settings", "start from config/default.yaml", file=str(path))
        raise BlushError("cannot read the configuration", [problem])
    return content


def _merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Settings with the changes applied, section by section."""
    result = dict(base)
    for key, value in changes.items():
        both = isinstance(value, dict) and isinstance(result.get(key), dict)
        result[key] = _merged(result[key], value) if both else value
    return result


def _resolved(
    content: dict[str, Any],
    folder: Path,
    path_keys: tuple[tuple[str, ...], ...] = _PATH_KEYS,
    output: str = "results",
) -> dict[str, Any]:
    """Settings with relative paths made absolute; the default output counts as one."""
    result = _merged(content, {} if "output" in content else {"output": output})
    for keys in path_keys:
        section: Any = result
        for key in keys[:-1]:
            section = section.get(key) if isinstance(section, dict) else None
        value = section.get(keys[-1]) if isinstance(section, dict) else None
        if isinstance(value, str | Path) and str(value) not in _KEYWORDS:
            full = folder / value
            update: dict[str, Any] = {keys[-1]: full.resolve() if ".." in full.parts else full}
            for key in reversed(keys[:-1]):
                update = {key: update}
            result = _merged(result, update)
    return result


def _problem(detail: Any) -> Problem:
    """One mistake in pydantic's words, with its place."""
    place = ".".join(str(part) for part in detail["loc"])
    shows_value = detail["type"] not in ("missing", "extra_forbidden") and not isinstance(detail["input"], dict)
    message = detail["msg"].removeprefix("Value error, ")
    return Problem(message, where=place or None, value=repr(detail["input"]) if shows_value else None)
