"""Section `regulariser`: which prior the maps get, and the settings of each."""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from blush.config.sections import PositiveInt, Section

Name = Literal[
    "wiener", "none", "lowpass", "blush", "cref", "localwiener", "nonuniform", "sidesplitter", "red", "external"
]


class LowPassSettings(Section):
    """A sharp limit without damping."""

    resolution_angst: float | None = Field(
        default=None, gt=0, description="Limit of the references; null: where the half-map FSC falls below 1/7"
    )


SHIPPED = Path(__file__).parents[1] / "denoise" / "data" / "w8d4.safetensors"


class BlushSettings(Section):
    """The Blush network: a denoising U-net trained on pairs of half-maps."""

    weights: Literal["shipped"] | Path = Field(
        default="shipped",
        description="Weights (.safetensors, or .index.json of several files); shipped: those of the package",
    )
    stride_px: PositiveInt = Field(
        default=20, le=40, description="Step between the network's 64-voxel patches; 32 is 3 times as fast as 20"
    )
    batch: PositiveInt = Field(default=4, description="Patches computed at once")
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        default="auto", description="Type inside the network; auto: bfloat16 on a GPU, float32 on a CPU"
    )
    cpu_minutes: float = Field(
        default=30,
        gt=0,
        description="Longest estimated time of one core per iteration, on a CPU; the run stops where more is needed",
    )
    own_mask: Literal["finished", "always", "never"] = Field(
        default="finished",
        description="Remove what lies outside the mask that the network sees in each half (weights for whitened maps): "
        "of finished maps (blush denoise), always (in every iteration, too), or never",
    )

    @property
    def file(self) -> Path:
        """File of the weights."""
        return SHIPPED if self.weights == "shipped" else Path(self.weights)


class CrefSettings(Section):
    """crefDenoiser: a network trained to maximise the correlation with the true map."""

    weights: Path | None = Field(default=None, description="Weights (.safetensors); required for name: cref")


class LocalWienerSettings(Section):
    """The Wiener filter with gains that a network sets place by place and band by band."""

    weights: Literal["shipped"] | Path = Field(
        default="shipped", description="Weights (.safetensors); shipped: those of the package"
    )

    @property
    def file(self) -> Path:
        """File of the weights."""
        return SHIPPED.with_name("localwiener.safetensors") if self.weights == "shipped" else Path(self.weights)


class NonuniformSettings(Section):
    """Non-uniform refinement: the local low-pass that predicts the other half best."""

    awf: float = Field(
        default=1.5,
        ge=1.5,
        description="Adaptive window factor: width of the window over the wavelength of the cut-off",
    )
    cutoffs: PositiveInt = Field(default=20, ge=3, description="Cut-off frequencies that are tried")
    share_cutoffs: bool = Field(default=True, description="Whether both halves get the same local cut-offs")


class SidesplitterSettings(Section):
    """SIDESPLITTER: local filtering by local signal to noise, each half from its own values."""

    taper: bool = Field(
        default=True, description="true: voxels get their half low-passed locally; false: rescaled band by band"
    )


class RedSettings(Section):
    """Regularisation by denoising: the denoised map as prior of the Wiener filter, trusted less at high resolution."""

    denoiser: Literal["blush", "cref", "nonuniform", "sidesplitter"] = Field(
        default="blush", description="Regulariser whose maps are the prior; its own section applies"
    )
    full_weight_angst: float = Field(
        default=4.4,
        gt=0,
        description="Resolution up to which the prior counts fully",
    )
    no_weight_angst: float = Field(default=10.0, gt=0, description="Resolution at which the prior counts nothing")

    @model_validator(mode="after")
    def _weight_falls(self) -> Self:
        if self.no_weight_angst <= self.full_weight_angst:
            limits = f"no_weight_angst {self.no_weight_angst} is not above full_weight_angst {self.full_weight_angst}"
            raise ValueError(f"{limits}; raise it")
        return self


class ExternalSettings(Section):
    """Any program that takes part in RELION's external reconstruction."""

    command: str | None = Field(
        default=None, description="Command line; gets the path of a STAR file as its last argument; required"
    )
    timeout_minutes: float = Field(default=60, gt=0, description="Time after which both halves' programs are ended")
    job_files: bool = Field(
        default=True, description="Whether the job's files that known wrappers read are laid beside"
    )


class RegulariserSettings(Section):
    """What turns unregularised half-maps into the references of the next alignment."""

    name: Name = Field(default="wiener", description="Which one; the section of the same name holds its settings")
    starts: Literal["first", "local"] = Field(
        default="first", description="first: from iteration 1; local: Wiener until searches are local"
    )
    fallback: Literal["error", "wiener"] = Field(
        default="error", description="When it fails. error: the run stops; wiener: Wiener in that iteration, announced"
    )
    amplitude: Literal["method", "keep", "cross_validated"] = Field(
        default="method",
        description="Scale of each shell. keep: as it comes; cross_validated: that by which one half predicts the "
        "other best; method: what suits the regulariser",
    )
    certificate: bool = Field(
        default=True,
        description="Certify what a network makes of the half-maps, in every iteration: by its change and its "
        "estimated error against the Wiener filter's. Half as much time of the network again",
    )
    jacobian_passes: int = Field(
        default=0,
        ge=0,
        le=50,
        description="Passes of power iteration with which the certificate tells how much a small change of a half-map "
        "grows in what the network takes away (1 at most: repeating it cannot run away); each costs its time for two "
        "halves, 0 nothing",
    )
    lowpass: LowPassSettings = Field(default=LowPassSettings(), description="Settings of lowpass")
    blush: BlushSettings = Field(default=BlushSettings(), description="Settings of blush")
    cref: CrefSettings = Field(default=CrefSettings(), description="Settings of cref")
    localwiener: LocalWienerSettings = Field(default=LocalWienerSettings(), description="Settings of localwiener")
    nonuniform: NonuniformSettings = Field(default=NonuniformSettings(), description="Settings of nonuniform")
    sidesplitter: SidesplitterSettings = Field(default=SidesplitterSettings(), description="Settings of sidesplitter")
    red: RedSettings = Field(default=RedSettings(), description="Settings of red")
    external: ExternalSettings = Field(default=ExternalSettings(), description="Settings of external")

    @property
    def used(self) -> tuple[str, ...]:
        """The regulariser and, for red, its denoiser."""
        return (self.name, self.red.denoiser) if self.name == "red" else (self.name,)

    @property
    def weights(self) -> dict[str, Path]:
        """Files of weights that this run loads, by their setting."""
        sections = {"blush": self.blush.file, "cref": self.cref.weights, "localwiener": self.localwiener.file}
        return {f"regulariser.{name}.weights": path for name, path in sections.items() if name in self.used and path}

    @model_validator(mode="after")
    def _complete(self) -> Self:
        required: dict[str, tuple[str, object]] = {
            "cref": ("weights", self.cref.weights),
            "external": ("command", self.external.command),
        }
        for name in self.used:
            key, value = required.get(name, ("", ""))
            if value is None:
                raise ValueError(f"name: {self.name} needs regulariser.{name}.{key}")
        return self
