"""`blush train` and its steps: a denoiser, from half-maps to weights."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from blush.report.tell import tell

if TYPE_CHECKING:
    from blush.config.training import TrainingConfig

Config = Annotated[
    Path, typer.Argument(help="YAML file of the training (config/train_default.yaml lists the settings).")
]
Setting = Annotated[
    list[str] | None, typer.Option("--set", help="Another value of a setting, as fit.steps=100; may be repeated.")
]
STEPS = {
    "fetch": "Download half-maps of published structures from the EMDB; a run that was cut off goes on.",
    "curate": "Judge pairs of half-maps by their figures; writes curated.tsv and a page with slices and FSC.",
    "prepare": "Bring all maps to one voxel size, in the files that training maps into memory.",
    "fit": "Train the network, or go on from its checkpoint.",
    "evaluate": "Measure the network on structures held out of training, beside classical regularisers.",
    "export": "Write weights, model card and manifest.",
}


def register(app: typer.Typer) -> None:
    """Add `train`, and `train-STEP` for each of its steps."""
    app.command("train", help="Train a denoiser: all steps in one process, from half-maps to weights.")(_command("run"))
    for name, text in STEPS.items():
        app.command(f"train-{name}", help=text)(_command(name))


def _command(step: str) -> Callable[..., None]:
    """The command of a step."""

    def command(config: Config, setting: Setting = None) -> None:
        read = _read(config, setting or [])
        from blush.jobs import training

        if step == "run":
            path = training.run(read, _tell, lambda name: _write_page(name, read))
        else:
            path = getattr(training, step)(read, _tell)
            _write_page(step, read)
        tell(str(path))

    return command


def _tell(text: str) -> None:
    """One line of progress."""
    tell(text)


def _write_page(step: str, config: "TrainingConfig") -> None:
    """The page of a step that has one."""
    from blush.jobs.training import TrainingFolder

    folder = TrainingFolder(config.run_dir)
    if step == "curate":
        from blush.report.curation import write_page

        write_page(folder.curation / "curation.json", folder.curation / "curation.html")
    elif step == "fit":
        from blush.report.training_page import write_page as write_fit

        write_fit(folder.fit, folder.fit / "fit.html", config.name)
    elif step == "evaluate":
        from blush.report.training_evaluation import write_page as write_evaluation

        write_evaluation(folder.evaluation / "evaluation.json", folder.evaluation / "evaluation.html")


def _read(path: Path, changes: list[str]) -> "TrainingConfig":
    """The configuration, with changed settings.

    Raises
    ------
    BlushError
        Where a change is not NAME=VALUE, or the configuration has mistakes.
    """
    from blush.config.files import checked, merged, parsed_changes
    from blush.config.training import TrainingConfig, load_training
    from blush.jobs.settings import read_settings

    overrides = parsed_changes(changes, "fit.steps=100")
    if (content := read_settings(path)) is None:
        return load_training(path, overrides)
    return checked(TrainingConfig, merged(content, overrides), path)
