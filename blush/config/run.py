"""The configuration of one refinement: one YAML file, checked as a whole before any job runs."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from blush.config.classification import Classification
from blush.config.files import NOT_WRITTEN, checked, merged, read_yaml, resolved
from blush.config.helix import HelixSettings
from blush.config.multibody import Multibody
from blush.config.regulariser import RegulariserSettings
from blush.config.sections import (
    Compute,
    Cryosparc,
    PointGroup,
    Postprocess,
    Refinement,
    Sampling,
    Section,
    Trailing,
    Truth,
)

PATH_KEYS = (
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
    ("classification", "references"),
    ("multibody", "half_maps"),
    ("multibody", "body_file"),
    ("multibody", "bodies", "*", "mask"),
    ("cryosparc", "project"),
    ("cryosparc", "passthrough"),
)


class RunConfig(Section):
    """One job on a set of particles. Relative paths start at the folder of the configuration file."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")] = Field(
        description="Name of the run, of letters, digits, dots, _ and -; its results go to output/name"
    )
    job: Literal["refine", "classify", "multibody", "body", "helix"] = Field(
        default="refine",
        description="refine: one map, in two halves; classify: several maps that compete for images; multibody: parts "
        "of one map that move; body: one of these, as a multibody run writes it in the folder of each; helix: one map "
        "of a filament",
    )
    particles: Path = Field(description="Particle table: a STAR file of RELION, or a .cs or .csg file of cryoSPARC")
    reference: Path = Field(description="Initial map, of any box and pixel size")
    reference_pixel_size_angst: float | None = Field(
        default=None, gt=0, description="Pixel size of the reference; null: its header's, where that is plausible"
    )
    mask: Literal["auto", "sphere"] | Path = Field(
        default="auto",
        description="Solvent mask: auto (made from the maps), sphere (of the particle diameter) or a mask file",
    )
    mask_pixel_size_angst: float | None = Field(
        default=None, gt=0, description="Pixel size of a mask file; null: its header's, where that is plausible"
    )
    particle_diameter_angst: float = Field(gt=0, description="Diameter of the circle around the particle")
    symmetry: PointGroup = Field(
        default="C1", description="Point group: Cn, Dn, T, O, I or I1 to I4, RELION's settings"
    )
    initial_lowpass_angst: float = Field(default=40.0, gt=0, description="Filter of the reference before iteration 1")
    regulariser: RegulariserSettings = Field(default=RegulariserSettings(), description="Prior of the maps")
    trailing: Trailing = Field(default=Trailing(), description="Cut-off of the references")
    sampling: Sampling = Field(default=Sampling(), description="Poses that are searched")
    refinement: Refinement = Field(default=Refinement(), description="Iterations")
    classification: Classification = Field(default=Classification(), description="Classes; for job: classify")
    multibody: Multibody = Field(default=Multibody(), description="Bodies that move; for job: multibody")
    helix: HelixSettings = Field(default=HelixSettings(), description="Filaments; for job: helix")
    postprocess: Postprocess = Field(default=Postprocess(), description="Final maps and resolution")
    compute: Compute = Field(default=Compute(), description="Devices, workers, memory")
    cryosparc: Cryosparc = Field(default=Cryosparc(), description="Reading of particles from cryoSPARC")
    truth: Truth | None = Field(default=None, description="Truth of simulated data; null for real data")
    seed: int = Field(default=1, ge=0, le=2**32 - 1, description="Seed of everything random")
    output: Path = Field(default=Path("results"), description="Folder of all runs")

    @model_validator(mode="after")
    def _bodies_fit(self) -> Self:
        if self.job != "multibody":
            return self
        if not self.multibody.bodies and self.multibody.body_file is None:
            raise ValueError("job: multibody has no bodies; list them in multibody.bodies, or give multibody.body_file")
        if self.symmetry != "C1":
            remedy = "expand the particles by their symmetry first, then set symmetry: C1"
            raise ValueError(
                f"symmetry {self.symmetry}: bodies move each for itself, which no symmetry holds; {remedy}"
            )
        return self

    @model_validator(mode="after")
    def _temperature_is_used(self) -> Self:
        if self.job == "refine" or self.refinement.temperature == 1:
            return self
        remedy = "set classification.temperature" if self.job == "classify" else "it is always corrected for the mask"
        raise ValueError(f"refinement.temperature is of job: refine, and job: {self.job} leaves it; {remedy}")

    @model_validator(mode="after")
    def _helix_fits(self) -> Self:
        if self.job != "helix":
            return self
        if self.helix.missing:
            raise ValueError(f"job: helix lacks {', '.join(self.helix.missing)}; give them in the section helix")
        if not self.symmetry.startswith("C"):
            remedy = "set symmetry: C1, or Cn about the axis of the filament"
            raise ValueError(f"symmetry {self.symmetry}: a filament with one polarity has none such; {remedy}")
        tube = self.helix.tube_diameter_angst or 0
        if tube > self.particle_diameter_angst:
            message = f"helix.tube_diameter_angst {tube:g} is over particle_diameter_angst"
            most = f"{self.particle_diameter_angst:g}"
            raise ValueError(f"{message} {most}; give at most {most}, or a larger circle around each segment")
        return self

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
    content = merged(read_yaml(Path(path), NOT_WRITTEN), overrides or {})
    return checked(RunConfig, resolved(content, Path(path).absolute().parent, PATH_KEYS, "results"), path)
