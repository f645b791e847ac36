"""Section `classification`: how a data set is divided into classes."""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from blush.config.sections import PositiveInt, Section


class Classification(Section):
    """Classes of a data set; used where `job` is classify."""

    classes: PositiveInt = Field(default=3, le=64, description="Number of classes, if no maps of them are given")
    references: tuple[Path, ...] = Field(
        default=(), description="Maps that the classes start from, one each; none: all start from `reference`"
    )
    start_from: Literal["parts", "random", "labels"] = Field(
        default="parts",
        description="First classes where all start from one map. parts: by what each image has of the parts of the "
        "mean map; random: drawn by the seed; labels: rlnClassNumber of the STAR file",
    )
    search: Literal["given", "local", "global"] = Field(
        default="given",
        description="Poses. given: those of the STAR file stay; local: refined from them, first with one map, then "
        "with those of classes; global: all are searched, in the same two steps",
    )
    sigma_angle_deg: float = Field(default=5, gt=0, description="Width of the first local search")
    prior: Literal["difference", "spectrum"] = Field(
        default="difference",
        description="Prior of the maps. difference: what classes share, and their differences, each with a signal of "
        "its own; spectrum: power of each class's last map times `tau2_fudge`, as RELION has it",
    )
    difference_power: float = Field(
        default=0.1, gt=0, le=1, description="Expected power of the differences between classes over that of their mean"
    )
    tau2_fudge: float = Field(default=4, gt=0, description="RELION's T; used by `prior: spectrum` alone")
    folds: Literal[1, 2, 4, 6, 8, 10] = Field(
        default=4,
        description="Parts of the images; each is compared with maps made without it. 1: every image is compared with "
        "maps that hold it, as in other programs; with `prior: spectrum` alone",
    )
    temperature: Literal["auto"] | float = Field(
        default="auto",
        description="What the log likelihood of classes is divided by; auto: corrects for the circular mask, whose "
        "noise is correlated; 1: as other programs have it",
    )
    resolution_limit_angst: float | None = Field(
        default=None, gt=0, description="Images are compared up to this resolution at most; null: as far as maps allow"
    )
    max_iterations: int = Field(default=25, ge=1, le=998, description="Iterations with classes after which it ends")
    settled_fraction: float = Field(
        default=0.005, ge=0, lt=1, description="Two iterations in a row that move fewer images than this are the last"
    )
    verify: bool = Field(
        default=True, description="Whether the classes are tested on independent halves of the images in the end"
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.temperature != "auto" and self.temperature <= 0:
            raise ValueError(f"temperature {self.temperature} is not positive; give auto, or 1 for none")
        if len(self.references) == 1:
            raise ValueError("references names one map; give one for each class, or use `reference` and `classes`")
        if self.references and self.start_from == "labels":
            raise ValueError("references and start_from: labels exclude each other; leave one of them out")
        if self.prior == "spectrum" and self.folds > 1:
            raise ValueError("prior: spectrum knows no folds; set folds: 1")
        if self.prior == "difference" and self.folds == 1:
            raise ValueError("prior: difference compares halves of the images; set folds: 2 or more")
        if self.folds == 1 and self.start_from == "parts" and not self.references and self.classes > 1:
            raise ValueError("start_from: parts needs two halves of the images; set folds: 4, or start_from: random")
        apart = self.search != "given" and (self.references or self.start_from != "parts")
        if apart and self.prior == "difference" and self.folds == 2:
            raise ValueError("a search with several maps needs two folds in each half; set folds: 4 or more")
        return self

    @property
    def n_classes(self) -> int:
        """K."""
        return len(self.references) or self.classes
