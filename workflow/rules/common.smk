# Functions of the rules; no rules here.
import json
import shlex
from pathlib import Path
import yaml
from blush.config import RunConfig, load_config
from blush.config.training import load_training
from blush.errors import BlushError
from blush.jobs.layout import RunFolder
from snakemake.exceptions import WorkflowError


def config_file():
    """The one configuration that was given."""
    files = workflow.overwrite_configfiles
    if len(files) != 1:
        raise WorkflowError(
            "give one configuration: --configfile my.yaml (config/default.yaml lists the settings)"
        )
    return files[0]


def is_training():
    """Whether the configuration is one of a training: it has `sources`, which a refinement has not."""
    try:
        content = yaml.safe_load(Path(config_file()).read_text())
    except (OSError, yaml.YAMLError):
        return False  # told by whoever reads it next
    if not isinstance(content, dict) or "sources" not in content:
        return False
    both = sorted({"particles", "reference", "regulariser"} & content.keys())
    if both:
        raise WorkflowError(
            f"{config_file()} has sources, as a training, and {', '.join(both)}, as a refinement: keep one of them"
        )
    return True


def checked_config(load=load_config):
    """The configuration, with every mistake in it told before any job runs."""
    try:
        content = load(config_file(), overrides=config)
    except BlushError as error:
        raise WorkflowError(str(error)) from None
    named = [content.run_dir, *content.model_dump().values()]
    for path in filter(lambda value: isinstance(value, Path), named):
        if "{" in str(path) or "}" in str(path):
            raise WorkflowError(
                f"blush: {path}: Snakemake takes the braces {{ }} of a path for wildcards; use a path without them, "
                "or run `blush refine`, which takes any"
            )
    return content


def quoted(text):
    """Text for the shell, and for Snakemake's own formatting."""
    return shlex.quote(text).replace("{", "{{").replace("}", "}}")


def number(n):
    """An iteration's number as its folder has it."""
    return f"{n:03d}"


def previous_state(wildcards):
    """The state from which an iteration runs."""
    return f"<run>/it{number(int(wildcards.n) - 1)}/state.json"


def is_last(state):
    """Whether a state file says that nothing is left to do."""
    return json.loads(Path(state).read_text())["converged"]


def last_state(wildcards):
    """The state after the last iteration: the only place that asks a checkpoint.

    Iterations on disk are walked over first, so that the initial DAG of a resumed run reaches the interrupted one and
    Snakemake sees what that left half done.
    """
    folder, n = RunFolder(RUN_CONFIG.run_dir), 1
    while folder.state(n).exists() and not is_last(folder.state(n)):
        n += 1
    state = checkpoints.converge.get(n=number(n)).output.state
    if not is_last(state):
        checkpoints.converge.get(n=number(n + 1))
    return state


def results_of_last_iteration(wildcards):
    """What the last iteration writes beside its own folder, under RELION's names."""
    last_state(wildcards)
    folder = RunFolder(RUN_CONFIG.run_dir)
    results = [folder.final_map, folder.unfiltered(1), folder.unfiltered(2)]
    results += [folder.root / f"run_{name}.star" for name in ("data", "model")]
    lost = [str(path) for path in results if not path.exists()]
    if lost:
        last = Path(last_state(wildcards)).parent
        raise WorkflowError(
            f"{', '.join(lost)} of a finished run: remove {last} to make its last iteration again"
        )
    return [str(path) for path in results]


def memory_of_maps_mb(wildcards, input):
    """Memory of a job that works on whole maps: the package itself, and 40 volumes at a time."""
    box_px = json.loads(Path(input[0]).read_text())["box_px"]
    return 1500 + round(40 * 4 * box_px**3 / 1e6)


def pool_threads():
    """Cores of the expectation step where it brings its own workers; elsewhere it only waits for others."""
    compute = RUN_CONFIG.compute
    if compute.pool != "inline":
        return 1
    return (
        workflow.cores
        if compute.workers == "auto"
        else compute.workers * compute.threads_per_worker
    )


def settings_file():
    """Settings of a training, every one of them."""
    return RUN_CONFIG.run_dir / "settings.json"


def decisive(*sections):
    """What makes the results of a training's step other ones when it changes."""
    content = RUN_CONFIG.model_dump(mode="json")
    return {name: content[name] for name in (*sections, "seed", "network")}
