"""The configuration of one training: one YAML file, checked as a whole before any job runs."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from blush.config.address import is_allowed
from blush.config.files import NOT_WRITTEN, checked, merged, read_yaml, resolved
from blush.config.sections import PositiveInt, Section
from blush.errors import BlushError, Problem

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]


def _allowed(url: str) -> str:
    """Refuse files, unencrypted connections to other machines, and passwords in an address."""
    if not is_allowed(url):
        raise ValueError("is no address of an archive; write https://HOST/..., or http:// for this machine alone")
    return url


Address = Annotated[str, AfterValidator(_allowed)]
_PATH_KEYS = (
    ("output",),
    ("sources", "folder", "pairs"),
    ("sources", "simulated", "models"),
    ("sources", "emdb", "repeat"),
    ("curate", "decisions"),
    ("held_out",),
    ("fit", "start"),
)


class Network(Section):
    """The network that is trained."""

    arch: Literal["blush", "cref", "localwiener"] = Field(
        default="blush",
        description="blush: U-net of Blush; cref: crefDenoiser; localwiener: local gains of a Wiener map",
    )
    input: Literal["half-map", "whitened"] = Field(
        default="half-map",
        description="half-map: as it is, as published; whitened: Wiener-filtered, its shells equally strong (blush)",
    )
    width: PositiveInt = Field(default=16, description="Channels on the full grid (not cref)")
    depth: PositiveInt = Field(default=5, le=8, description="Halvings of the grid (blush)")
    voxel_size_angst: Positive = Field(default=1.5, description="Voxel size of the maps it sees")
    dropout: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.5, description="Share of the deepest channels dropped in training (blush)"
    )

    @model_validator(mode="after")
    def _whitened_is_for_blush(self) -> Self:
        if self.input == "whitened" and self.arch != "blush":
            raise ValueError(f"input: whitened is for arch: blush, not for {self.arch}")
        return self


class EmdbSource(Section):
    """Half-maps of published structures from the EMDB."""

    enabled: bool = Field(default=False, description="Whether to download half-maps")
    api_url: Address = Field(default="https://www.ebi.ac.uk/emdb/api", description="EMDB's REST interface")
    files_url: Address = Field(
        default="https://ftp.ebi.ac.uk/pub/databases/emdb/structures", description="Folder of the entries' files"
    )
    query: str = Field(
        default="half_map_filename:[* TO *] AND current_status:REL AND database:EMDB AND resolution:[* TO 4] "
        'AND structure_determination_method:"singleParticle"',
        description="Search, in EMDB's query language",
    )
    entries: tuple[str, ...] = Field(default=(), description="Entries as EMD-1234 instead of a search")
    repeat: Path | None = Field(
        default=None, description="Manifest of another training: fetch its files, and refuse others"
    )
    largest_number: PositiveInt = Field(default=500, description="Entries that are taken at most")
    largest_gb: Positive = Field(default=150, description="Stop downloading beyond this many GB")
    interval_s: Annotated[float, Field(ge=0)] = Field(default=0.5, description="Least time between two requests")
    retries: Annotated[int, Field(ge=0)] = Field(default=6, description="Attempts after a failure, ever later")
    timeout_s: Positive = Field(default=60, description="Time without an answer after which a request has failed")


class FolderSource(Section):
    """Half-maps that are on disk."""

    pairs: Path | None = Field(
        default=None,
        description="Table (.tsv) of half-map pairs: name, half1, half2; optional mask, truth, group, symmetry, "
        "contour, resolution_angst",
    )


class SimulatedSource(Section):
    """Half-maps made while training from atomic models."""

    models: Path | None = Field(
        default=None, description="Packed models (.npz, made by scripts/pack_models.py); null: no simulated half-maps"
    )
    largest_number: PositiveInt | None = Field(
        default=None, description="Models taken at most, in the order of their names; null: all"
    )
    variants: PositiveInt = Field(default=2, description="Density maps per model, each with its own disorder")
    box_px: PositiveInt = Field(default=96, description="Box of these maps; models that do not fit are left out")


class Sources(Section):
    """Where half-maps come from; shares are of the patches of a training."""

    emdb: EmdbSource = Field(default=EmdbSource(), description="Published half-maps")
    folder: FolderSource = Field(default=FolderSource(), description="Half-maps on disk")
    simulated: SimulatedSource = Field(default=SimulatedSource(), description="Simulated half-maps")
    simulated_share: Share = Field(
        default=0.5, description="Share of simulated patches where there are others; 1 where there are no others"
    )


class Curate(Section):
    """Which pairs of half-maps are good enough to learn from."""

    worst_resolution_angst: Positive = Field(default=4.0, description="Half-map FSC of 0.143 in the mask, at least")
    largest_pixel_size_angst: Positive = Field(default=2.0, description="Coarser maps are rejected")
    largest_fsc_at_nyquist: Share = Field(default=0.2, description="More is a sign of filtered or masked halves")
    least_solvent_variance: Share = Field(
        default=0.02, description="Of the variance inside the mask; less is a sign of masked halves"
    )
    largest_deviation_angst: Positive = Field(
        default=0.5, description="Between the resolution found and the one deposited"
    )
    identity: Share = Field(default=0.9, description="Sequences this alike are one structure")
    decisions: Path | None = Field(
        default=None, description="Table (.tsv) entry, keep or drop, reason: has the last word"
    )
    strict: bool = Field(default=True, description="false: resolution, pixel and deviation are told, not enforced")


class Evaluate(Section):
    """What is measured on structures held out from training."""

    share: Share = Field(default=0.15, description="Share of the groups held out, at least")
    maps: PositiveInt = Field(default=24, description="Simulated pairs of half-maps that are evaluated")
    tested: PositiveInt = Field(default=3, description="Pairs of these that are tested for invented detail")
    bootstrap: PositiveInt = Field(default=1000, description="Draws of the confidence intervals")
    rivals: tuple[Literal["wiener", "nonuniform", "sidesplitter"], ...] = Field(
        default=("wiener", "nonuniform", "sidesplitter"), description="Regularisers measured beside it"
    )


class Stage(Section):
    """One part of the training, with patches of one size."""

    share: Share = Field(description="Of the training")
    block_px: PositiveInt = Field(description="Side of the patches")
    batch: PositiveInt = Field(
        description="Patches per step, on all devices together; with localwiener or whitened input pairs of halves"
    )


class Fit(Section):
    """The optimisation. Its length is a number of steps, so that equal seeds give equal weights."""

    steps: PositiveInt = Field(default=100_000, description="Steps of the whole training")
    stages: tuple[Stage, ...] = Field(
        default=(Stage(share=1, block_px=64, batch=8),), min_length=1, description="Parts, one after the other"
    )
    learning_rate: Positive = Field(default=2e-4, description="Of AdamW, after warm-up; falls along a cosine")
    last_learning_rate: Positive = Field(default=1e-6, description="At the end of the cosine")
    warmup_steps: Annotated[int, Field(ge=0)] = Field(default=500, description="Steps of linear rise")
    weight_decay: Annotated[float, Field(ge=0)] = Field(default=1e-4, description="Of AdamW")
    clip: Positive = Field(default=1.0, description="Largest norm of the gradient")
    ema: Annotated[float, Field(ge=0, lt=1)] = Field(default=0.999, description="Memory of the averaged weights")
    recursion: tuple[Share, ...] = Field(
        default=(0.4, 0.25, 0.15, 0.1, 0.05, 0.05),
        min_length=1,
        description="Probabilities that the input went 0, 1, 2... times through the network before (half-map input)",
    )
    recursion_from: Share = Field(default=0.0, description="Share of the training that is over before it sets in")
    mask_weight: Annotated[float, Field(ge=0)] = Field(default=0.1, description="Weight of the mask's cross-entropy")
    noise2noise_share: Share = Field(
        default=0.1, description="Share of simulated patches whose target is the other half instead of the truth"
    )
    start: Path | None = Field(default=None, description="Weights to start from; null: random ones")
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        default="auto", description="Inside the network; auto: bfloat16 on a GPU, float32 on a CPU"
    )
    compile: bool = Field(default=False, description="Compile the network (GPU)")
    device: str = Field(default="auto", description="auto: every GPU, or else the CPU; cpu; cuda:0")
    processes: PositiveInt = Field(
        default=1, description="Processes that share a step on CPU cores; GPUs have one each. Changes rounding"
    )
    gpus: Annotated[int, Field(ge=0)] = Field(default=1, description="GPUs that a cluster's job asks for; 0: none")
    loaders: Annotated[int, Field(ge=0)] = Field(default=0, description="Processes that make patches; 0: none apart")
    checkpoint_minutes: Positive = Field(default=3, description="Time between checkpoints")

    @model_validator(mode="after")
    def _sums(self) -> Self:
        for name, total in (("stages", sum(s.share for s in self.stages)), ("recursion", sum(self.recursion))):
            if abs(total - 1) > 1e-6:
                raise ValueError(f"the shares of {name} add up to {total:g}; make it 1")
        return self


class TrainingConfig(Section):
    """One training. Relative paths start at the folder of the configuration file."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")] = Field(
        description="Name of the training; its results go to output/name"
    )
    network: Network = Field(default=Network(), description="What is trained")
    sources: Sources = Field(default=Sources(), description="Where half-maps come from")
    curate: Curate = Field(default=Curate(), description="Which of them are used")
    held_out: Path | None = Field(
        default=None, description="Table (.tsv), column name: entries and models never trained on, with their groups"
    )
    evaluate: Evaluate = Field(default=Evaluate(), description="What is measured in the end")
    fit: Fit = Field(default=Fit(), description="Optimisation")
    export_half: bool = Field(default=False, description="Store weights in half precision, if results stay the same")
    licence: str = Field(default="CC0-1.0", description="Of the weights, as the model card says")
    seed: int = Field(default=1, ge=0, le=2**32 - 1, description="Seed of everything random")
    output: Path = Field(default=Path("training"), description="Folder of all trainings")

    @property
    def run_dir(self) -> Path:
        """Folder of everything this training writes."""
        return self.output / self.name

    @model_validator(mode="after")
    def _has_a_source(self) -> Self:
        sources = self.sources
        if not (sources.emdb.enabled or sources.folder.pairs or sources.simulated.models):
            raise ValueError("no source of half-maps; set sources.simulated.models, folder.pairs or emdb.enabled")
        return self


def load_training(path: Path | str, overrides: dict[str, Any] | None = None) -> TrainingConfig:
    """Read and check the configuration of a training.

    Parameters
    ----------
    path
        YAML file; its relative paths start at its folder.
    overrides
        Nested values that replace those of the file, as `{"fit": {"steps": 20}}`.

    Raises
    ------
    BlushError
        With every mistake of the file.
    """
    content = merged(read_yaml(Path(path)), overrides or {})
    return checked(TrainingConfig, resolved(content, Path(path).absolute().parent, _PATH_KEYS, "training"), path)


def holds_training(path: Path) -> bool:
    """Whether a configuration is one of a training: it has `sources`, which a refinement has not.

    Raises
    ------
    BlushError
        If it cannot be read, or has settings of both.
    """
    content = read_yaml(path, NOT_WRITTEN)
    if "sources" not in content:
        return False
    if both := sorted({"particles", "reference", "regulariser"} & content.keys()):
        message = f"has sources, as a training, and {', '.join(both)}, as a refinement"
        raise BlushError("this is no configuration", [Problem(message, "keep one of them", str(path))])
    return True
