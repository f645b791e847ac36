"""What to simulate: one YAML file, or the defaults, which make the demo set."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from blush.config.files import checked, merged, read_yaml
from blush.config.sections import PointGroup, Section
from blush.simulate.body_settings import MovingBody, check_bodies
from blush.simulate.filament_settings import Filaments
from blush.simulate.mixture_settings import Change, Junk, Rotate, Vector

Positive = Annotated[float, Field(gt=0)]


class Belt(Section):
    """Detergent micelle or lipid nanodisc: an ellipsoid around the z axis, cut out where the protein is."""

    center_z_angst: float = Field(description="Height of its middle above the model's centre, after alignment")
    core_height_angst: Positive = Field(default=30, description="Height of the hydrophobic core")
    core_width_angst: Positive = Field(default=14, description="How far the core reaches beyond the protein")
    shell_angst: Positive = Field(default=8, description="Thickness of the layer of head groups")
    core_contrast: float = Field(default=0.015, description="Density of the core above solvent, in Å⁻²")
    shell_contrast: float = Field(default=0.06, description="Density of the head groups above solvent, in Å⁻²")
    texture_angst: Positive = Field(default=12, description="Size of the disorder, drawn anew for each micrograph")
    texture_sd: float = Field(default=0.5, ge=0, description="Disorder as a fraction of the local contrast")


class Specimen(Section):
    """The particle: an atomic model in solvent. The demo model is one unit of Rubisco, and so D4, expanded."""

    model: Literal["demo"] | Path = Field(
        default="demo", description="PDB or mmCIF, plain or .gz; demo: the shipped one"
    )
    assembly: str | None = Field(default=None, description="Biological assembly to build, by name; null: as deposited")
    chains: tuple[str, ...] | None = Field(default=None, description="Chains to keep; null: all")
    symmetry: PointGroup = Field(default="C1", description="Point group given to the density, in RELION's setting")
    copies: Literal["none", "align", "average", "expand"] = Field(
        default="none",
        description="none: symmetry is only noted; align: the model's own axes are aligned; average: also its units "
        "are averaged; expand: the model is one unit already in place",
    )
    bfactor_angst2: float | None = Field(
        default=None, ge=0, description="One B-factor for all atoms; null: the model's"
    )
    bfactor_min_angst2: float = Field(default=20, ge=0, description="Smaller B-factors are raised to this")
    bfactor_max_angst2: Positive = Field(default=150, description="Larger B-factors are lowered to this")
    solvent_density: float = Field(
        default=0.062, ge=0, description="Scattering of vitreous ice without its hydrogens, in Å⁻²; 0: vacuum"
    )
    belt: Belt | None = Field(default=None, description="Micelle or nanodisc; null: none")

    @model_validator(mode="before")
    @classmethod
    def _demo_is_expanded(cls, content: Any) -> Any:
        if isinstance(content, dict) and content.get("model", "demo") == "demo":
            return {"symmetry": "D4", "copies": "expand"} | content
        return content

    @model_validator(mode="after")
    def _range_of_bfactors(self) -> Self:
        if self.bfactor_min_angst2 > self.bfactor_max_angst2:
            raise ValueError(f"bfactor_min_angst2 is over bfactor_max_angst2 {self.bfactor_max_angst2}; lower it")
        return self


class Optics(Section):
    """One optics group; micrographs are dealt to the groups in turn."""

    voltage_kv: Positive = Field(default=300, description="Acceleration voltage")
    spherical_aberration_mm: float = Field(default=2.7, ge=0, description="Cs")
    amplitude_contrast: float = Field(default=0.1, ge=0, lt=1, description="Fraction of amplitude contrast")


class Imaging(Section):
    """Box, microscope and pose of the particles."""

    n_particles: int = Field(default=600, gt=0, description="Number of images")
    box_px: int = Field(default=64, ge=16, description="Side of the images, even")
    pixel_size_angst: Positive = Field(default=3.2, description="Pixel size of the images")
    particles_per_micrograph: int = Field(default=50, gt=0, description="Images of one micrograph, and of one stack")
    optics: tuple[Optics, ...] = Field(default=(Optics(),), min_length=1, description="Optics groups")
    defocus_min_angst: Positive = Field(default=8000, description="Least mean defocus of a micrograph")
    defocus_max_angst: Positive = Field(default=22000, description="Most mean defocus of a micrograph")
    defocus_sd_angst: float = Field(default=150, ge=0, description="Spread of height inside one micrograph")
    astigmatism_sd_angst: float = Field(default=200, ge=0, description="Spread of defocus U - V over micrographs")
    envelope_bfactor_angst2: float = Field(default=60, ge=0, description="Decay of every image, unknown to its CTF")
    offset_sd_angst: float = Field(default=4, ge=0, description="Spread of the particle's centre, along each axis")
    float16: bool = Field(default=False, description="Store half precision (RELION from 4.0) instead of float32")

    @field_validator("box_px")
    @classmethod
    def _even(cls, value: int) -> int:
        if value % 2:
            raise ValueError(f"box {value} is odd; use {value + 1}")
        return value

    @model_validator(mode="after")
    def _range_of_defocus(self) -> Self:
        if self.defocus_min_angst > self.defocus_max_angst:
            raise ValueError(f"defocus_min_angst is over defocus_max_angst {self.defocus_max_angst}; lower it")
        return self


class Views(Section):
    """Directions of view: a uniform part, and a part gathered around preferred axes (von Mises-Fisher)."""

    preferred_axes: tuple[Vector, ...] = Field(default=(), description="Axes x, y, z; empty: uniform")
    preferred_fraction: float = Field(default=0.7, ge=0, le=1, description="Particles that see a preferred axis")
    concentration: Positive = Field(default=10, description="How near they are to it; 10 is about 18° away")

    @field_validator("preferred_axes")
    @classmethod
    def _axes_have_a_direction(cls, value: tuple[Vector, ...]) -> tuple[Vector, ...]:
        if any(axis == (0, 0, 0) for axis in value):
            raise ValueError("an axis of 0, 0, 0 points nowhere; remove it")
        return value


class Noise(Section):
    """White noise and the smooth background of ice and carbon.

    The signal-to-noise ratio is the variance of the noise-free images (CTF and envelope included) inside the
    particle's circle, averaged over the first micrograph, over the variance of all noise in a pixel.
    """

    snr: Positive = Field(default=0.05, description="Variance of signal in the particle's circle over that of noise")
    coloured_fraction: float = Field(default=0.3, ge=0, lt=1, description="Share of the noise that is background")
    coloured_angst: Positive = Field(default=30, description="Length of correlation of the background")


class Species(Section):
    """One structural state of a mixture: a model, and what is changed in it."""

    name: str = Field(pattern=r"^[A-Za-z][A-Za-z0-9_.-]*$", description="Word for it in the tables")
    fraction: float = Field(gt=0, le=1, description="Share of the particles that are not junk; all add up to 1")
    specimen: Specimen | None = Field(default=None, description="Its model, stated in full; null: `specimen`")
    symmetry: PointGroup | None = Field(
        default=None, description="Noted for it; null: that of its specimen, C1 where only some copies are changed"
    )
    frame: Literal["own", "first"] = Field(
        default="own",
        description="own: the model is centred and aligned by itself; first: it is moved as that of the first species, "
        "for models superposed beforehand",
    )
    changes: tuple[Change, ...] = Field(default=(), description="Changes to the model, in this order")

    @model_validator(mode="after")
    def _one_change_varies(self) -> Self:
        several = [c for c in self.changes if isinstance(c, Rotate) and not isinstance(c.angle_deg, float)]
        if len(several) > 1:
            raise ValueError("two changes have several angles; leave them to one, and add a species for others")
        return self


class SimulateConfig(Section):
    """One simulated particle set."""

    specimen: Specimen = Field(default_factory=lambda: Specimen.model_validate({}), description="The particle")
    species: tuple[Species, ...] = Field(default=(), description="States of a mixture; empty: `specimen` alone")
    junk: Junk = Field(default=Junk(), description="Images without a whole particle")
    bodies: tuple[MovingBody, ...] = Field(
        default=(), description="Parts of `specimen` that move against each other; empty: it is rigid"
    )
    filaments: Filaments | None = Field(default=None, description="Segments of filaments; null: single particles")
    counts: Literal["exact", "drawn"] = Field(
        default="exact",
        description="exact: shares of a mixture hold to one image; drawn: each image is drawn by them, so that a "
        "smaller set is the beginning of a larger one",
    )
    imaging: Imaging = Field(default=Imaging(), description="Images")
    views: Views = Field(default=Views(), description="Orientations")
    noise: Noise = Field(default=Noise(), description="Noise")
    particle_diameter_angst: Positive | None = Field(
        default=None, description="Circle of the signal and of the background; null: the model's diameter + 10 %"
    )
    initial_lowpass_angst: Positive = Field(default=40, description="Filter of reference.mrc")
    seed: int = Field(default=1, ge=0, le=2**32 - 1, description="Seed of everything random")
    output: Path = Field(default=Path("simulated"), description="Folder of the particle set")

    @property
    def is_mixture(self) -> bool:
        """Whether images differ in more than view and noise."""
        return bool(self.species) or self.junk.share > 0

    @field_validator("bodies")
    @classmethod
    def _bodies_make_a_whole(cls, value: tuple[MovingBody, ...]) -> tuple[MovingBody, ...]:
        check_bodies(value)
        return value

    @model_validator(mode="after")
    def _bodies_are_of_one_particle(self) -> Self:
        if self.bodies and self.is_mixture:
            raise ValueError("bodies and a mixture (species, junk) exclude each other; leave one of them out")
        if self.bodies and self.specimen.belt is not None:
            raise ValueError("bodies have no micelle; leave specimen.belt out")
        return self

    @model_validator(mode="after")
    def _filaments_are_alone(self) -> Self:
        if self.filaments is None:
            return self
        others = {"bodies": self.bodies, "species": self.species, "junk": self.junk.share, "belt": self.specimen.belt}
        if there := [name for name, value in others.items() if value]:
            raise ValueError(f"filaments do not go with {', '.join(there)}; leave one of them out")
        if "n_particles" in self.imaging.model_fields_set:
            images = self.filaments.images
            raise ValueError(f"filaments.count times segments makes {images} images; leave imaging.n_particles out")
        return self

    @field_validator("species")
    @classmethod
    def _species_make_a_whole(cls, value: tuple[Species, ...]) -> tuple[Species, ...]:
        fractions = [species.fraction for species in value]
        if value and abs(sum(fractions) - 1) > 1e-6:
            listed = ", ".join(f"{species.name} {species.fraction:g}" for species in value)
            raise ValueError(f"fractions add up to {sum(fractions):g} instead of 1 ({listed}); correct them")
        names = [species.name for species in value]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"{', '.join(twice)} names two species; rename one")
        return value


def load_settings(path: Path | None, overrides: dict[str, Any] | None = None) -> SimulateConfig:
    """Read and check what to simulate.

    Parameters
    ----------
    path
        YAML file, whose relative paths start at its folder; none means the demo.
    overrides
        Nested values that replace those of the file; their paths start at the working folder.

    Raises
    ------
    BlushError
        With every mistake.
    """
    content = merged(read_yaml(path) if path else {}, overrides or {})
    folder = path.absolute().parent if path else Path.cwd()
    settings = checked(SimulateConfig, content, path or "the set of options")
    given = overrides or {}
    output = settings.output if "output" in given else folder / settings.output
    specimen = settings.specimen if "model" in given.get("specimen", {}) else _found(settings.specimen, folder)
    start = Path.cwd() if "species" in given else folder
    species = tuple(
        one if one.specimen is None else one.model_copy(update={"specimen": _found(one.specimen, start)})
        for one in settings.species
    )
    return settings.model_copy(update={"output": output, "specimen": specimen, "species": species})


def _found(specimen: Specimen, folder: Path) -> Specimen:
    """The specimen with its model's path started at a folder."""
    if not isinstance(specimen.model, Path):
        return specimen
    return specimen.model_copy(update={"model": folder / specimen.model})
