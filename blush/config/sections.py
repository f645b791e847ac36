"""Sections of the run configuration; every field says what it does, and the reference is generated from them."""

import re
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

_POINT_GROUP = re.compile(r"^(C[1-9]\d*|D[1-9]\d*|T|O|I|I[1-4])$")


def _known_group(value: str) -> str:
    if not _POINT_GROUP.match(value):
        raise ValueError("no such point group; use Cn, Dn, T, O, I, I1, I2, I3 or I4")
    return value


PositiveInt = Annotated[int, Field(gt=0)]
PointGroup = Annotated[str, AfterValidator(_known_group)]


class Section(BaseModel):
    """A frozen group of settings that refuses unknown keys and numbers that are not finite."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Trailing(Section):
    """Cut-off that keeps references behind the resolution measured between the half-maps."""

    enabled: bool = Field(default=True, description="Whether references are cut behind the measured resolution")
    shells: int = Field(default=2, ge=0, description="Shells that the cut-off stays behind the FSC threshold")


class Sampling(Section):
    """Grid of poses searched at the first iteration."""

    healpix_order: int = Field(default=2, ge=0, le=8, description="HEALPix order of the first grid; 2 is 15°")
    local_from_order: int = Field(
        default=4, ge=1, le=9, description="HEALPix order from which searches are local; 4 is 3.7°"
    )
    offset_range_px: float = Field(default=5, gt=0, description="Radius of the search for offsets")
    offset_step_px: float = Field(default=2, gt=0, description="Step of that search before oversampling")
    offset_sigma_angst: float = Field(
        default=5, gt=0, description="First width of the prior of offsets; every iteration estimates it anew"
    )
    oversampling: Literal[1] = Field(default=1, description="Halvings of every step for significant poses")
    perturb: float = Field(
        default=0.5, ge=0, lt=1, description="Random turn of the grid in each iteration, as a fraction of its step"
    )

    @model_validator(mode="after")
    def _step_within_range(self) -> Self:
        if self.offset_step_px > self.offset_range_px:
            raise ValueError(
                f"offset_step_px {self.offset_step_px} is over offset_range_px {self.offset_range_px}; lower the step"
            )
        return self


class Refinement(Section):
    """How iterations run and when they end."""

    max_iterations: int = Field(default=50, ge=1, le=998, description="Iterations after which refinement gives up")
    low_resolution_join_angst: float = Field(
        default=40, gt=0, description="Resolution down to which both halves share their data, to keep the same hand"
    )
    solvent_correct_fsc: bool = Field(
        default=True, description="Whether the FSC that drives refinement is corrected for the mask"
    )
    norm_correction: bool = Field(default=True, description="Whether the contrast of each particle is estimated")
    scale_correction: bool = Field(default=True, description="Whether the scale of each group is estimated")
    reference_is_greyscale: bool = Field(
        default=False, description="Whether the reference has the grey scale of these particles already"
    )
    temperature: Literal["auto"] | Annotated[float, Field(gt=0)] = Field(
        default=1.0,
        description="What the log likelihood of poses is divided by; auto: corrects for the circular mask, whose noise "
        "is correlated; 1: as other programs have it. Filaments and bodies are always corrected",
    )
    start_from: Literal["global", "poses"] = Field(
        default="global", description="global: search every pose; poses: refine those of the STAR file locally"
    )
    keep_iterations: int = Field(default=3, ge=1, description="Latest iterations whose maps are kept")
    iteration_tables: bool = Field(
        default=False, description="Whether every iteration writes RELION's tables; the last one always does"
    )


class Postprocess(Section):
    """Masked FSC, sharpening and the final map."""

    mask: Literal["auto"] | Path = Field(default="auto", description="auto: made from the map; or a mask file")
    adhoc_bfactor_angst2: float | None = Field(
        default=None, le=0, description="B-factor applied instead of the Guinier estimate, negative to sharpen"
    )
    autob_lowres_angst: float = Field(default=10, gt=0, description="Low-resolution end of the Guinier fit")
    autob_highres_angst: float | None = Field(
        default=None,
        ge=0,
        description="High-resolution end of the Guinier fit; null: the resolution; 0: Nyquist, as RELION",
    )
    randomise_from_fsc: float = Field(
        default=0.8, gt=0.143, lt=1, description="Phases are randomised beyond the shell where the FSC falls below this"
    )
    mask_lowpass_angst: float = Field(default=15, gt=0, description="Filter of the map before an automatic mask")
    mask_extend_px: float = Field(default=3, ge=0, description="Growth of the automatic mask")
    mask_edge_px: float = Field(default=6, ge=1, description="Width of the soft edge of the automatic mask")


class SlurmWorkers(Section):
    """What each worker asks SLURM for; used where `compute.pool` is slurm."""

    partition: str | None = Field(default=None, description="Partition; null: the cluster's default")
    account: str | None = Field(default=None, description="Account; null: the user's default")
    gres: str | None = Field(default=None, description="Generic resources of a worker, as gpu:1; null: none")
    minutes: PositiveInt = Field(default=720, description="Time limit; a worker that reaches it is replaced")
    interface: str | None = Field(
        default=None, description="Network interface by which hosts reach each other, as ib0; null: the default route's"
    )
    options: tuple[str, ...] = Field(default=(), description="More options of sbatch, as --constraint=a100")


class Compute(Section):
    """Where and how the work runs.

    Results depend on `device`, `precision`, `kernels`, `shards_per_half`, `threads_per_worker` and `memory_gb`
    (which sets how many images are taken at once) by rounding, since sums are added in another order; on nothing else.
    """

    device: Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:\d+)?)$")] = Field(
        default="auto", description="auto, cpu, cuda or cuda:N; auto takes every GPU there is, else the CPU"
    )
    workers: Literal["auto"] | PositiveInt = Field(
        default="auto",
        description="Processes; auto: one per GPU, else as many as cores and memory allow; on SLURM 4",
    )
    shards_per_half: Literal["auto"] | PositiveInt = Field(
        default="auto", description="Parts each half is cut into at import; auto: by the number of particles alone"
    )
    precision: Literal["float32", "float64"] = Field(default="float32", description="Type of images and volumes")
    threads_per_worker: PositiveInt = Field(default=1, description="Threads of each worker")
    memory_gb: float = Field(default=4.0, gt=0, description="Memory that each worker may use")
    kernels: Literal["auto", "native", "torch"] = Field(
        default="auto", description="native: compiled kernels; torch: portable ones; auto: native where they compile"
    )
    scratch: Path | None = Field(default=None, description="Fast local folder for workers; null: the system's")
    pool: Literal["auto", "local", "slurm", "attach", "inline"] = Field(
        default="auto",
        description="Where workers run. local: this machine; slurm: as SLURM jobs; attach: those of a running Dask "
        "scheduler; inline: inside each job of the workflow; auto: slurm under the profile slurm, else local",
    )
    scheduler_file: Path | None = Field(default=None, description="File of the Dask scheduler to attach to")
    idle_minutes: float = Field(default=10, gt=0, description="Time without work after which workers end themselves")
    slurm: SlurmWorkers = Field(default=SlurmWorkers(), description="Workers as SLURM jobs")

    @model_validator(mode="after")
    def _attach_needs_a_file(self) -> Self:
        if (self.pool == "attach") != (self.scheduler_file is not None):
            raise ValueError("pool: attach and scheduler_file belong together; give both or none")
        return self


class Cryosparc(Section):
    """How a `.cs` table or `.csg` group of cryoSPARC is read; of no effect on STAR files."""

    project: Path | None = Field(
        default=None, description="Folder that its image paths start from; null: the table's, or one above it"
    )
    passthrough: Literal["auto"] | tuple[Path, ...] = Field(
        default="auto",
        description="Files with the fields that the table lacks; auto: *passthrough*.cs beside it that have its rows",
    )
    aberrations: Literal["refuse", "leave_out"] = Field(
        default="refuse",
        description="What is done about beam tilt, trefoil, tetrafoil, anisotropic magnification that count",
    )


class Truth(Section):
    """Truth of simulated data, reported beside the measurement and never used by it."""

    particles: Path = Field(description="STAR file with the true poses, in the same row order")
    map: Path = Field(description="True map")
    mask: Path | None = Field(default=None, description="Mask for the comparison of maps; null: none")
