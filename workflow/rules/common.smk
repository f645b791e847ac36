# Functions of the rules; no rules here.
import os
import shlex
import socket
import sys
from functools import cache
from pathlib import Path
import blush
from blush.config import RunConfig
from blush.config.training import holds_training, load_training
from blush.errors import BlushError
from blush.io.files import read_json
from blush.io.json_text import SEAL_KEY
from blush.io.seal import DamagedFile
from blush.jobs.layout import RunFolder
from blush.jobs.results import finished_files, last_results
from blush.jobs.sealed import checked
from blush.jobs.settings import file_digest, run_settings
from blush.jobs.subsets import folds_of, subsets_of
from blush.refine.state import load_state
from snakemake.exceptions import WorkflowError
from snakemake.io import IOFile
from snakemake.settings.types import DeploymentMethod


def config_file():
    """The one configuration that was given; without one that of the working folder, in Snakemake's usual place."""
    files = workflow.overwrite_configfiles
    if not files and Path("config/config.yaml").is_file():
        return Path("config/config.yaml")
    if len(files) != 1:
        raise WorkflowError(
            "give one configuration: --configfile my.yaml, or config/config.yaml (`blush init` writes one)"
        )
    return files[0]


def is_training():
    """Whether the configuration is one of a training."""
    try:
        return holds_training(Path(config_file()))
    except BlushError as error:
        raise WorkflowError(str(error)) from None


def checked_config(load=run_settings):
    """The configuration, with every mistake in it told before any job runs."""
    try:
        changes = {key: value for key, value in config.items() if key != SEAL_KEY}
        content = load(config_file(), overrides=changes)
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


def interpreter():
    """What runs the steps: this Python, or with `--sdm conda` that of the environment.

    The environment has all that this package needs, and not the package itself: it sees that through a folder which
    holds nothing else.
    """
    if DeploymentMethod.CONDA not in workflow.deployment_settings.deployment_method:
        return f"exec {quoted(sys.executable)}"
    alone = Path(".snakemake/blush").absolute()
    alone.mkdir(parents=True, exist_ok=True)
    beside = alone / f"{socket.gethostname()}-{os.getpid()}"
    beside.symlink_to(Path(blush.__file__).parent.absolute())
    beside.replace(alone / "blush")
    return f"PYTHONPATH={quoted(str(alone))} exec python"


def number(n):
    """An iteration's number as its folder has it."""
    return f"{n:03d}"


def only_looks():
    """Whether Snakemake was asked to run no job, as by --dry-run."""
    return workflow.executor_plugin is None or workflow.dryrun or workflow.touch


@cache
def ready():
    """Hold the run's folder, take up its settings and undo damage, once, before the first job is planned.

    Not for what only looks, as a dry run, nor in the processes of single jobs. The lock stands in for Snakemake's own,
    which stays behind when Snakemake is killed.
    """
    if only_looks() or not workflow.is_main_process:
        return
    try:
        hold_run(RUN_CONFIG.run_dir)
        make_ready(RUN_CONFIG)
    except BlushError as error:
        # no WorkflowError, to which Snakemake adds the lines of this file
        raise SystemExit(f"blush: {error}") from None
    forget()


def forget():
    """Let Snakemake know nothing of the files of the loop but which are there: their seals say that they are whole.

    A job that it runs for another reason than a missing file, as a mark of interruption, would hide from it that files
    further on are missing: it ended with "100 % done" and no map.
    """
    run = RUN_CONFIG.run_dir
    for path in (*run.glob("import/*"), *run.glob("it[0-9]*/*")):
        workflow.persistence.cleanup_metadata(IOFile(str(path)))


@cache
def content_of(*paths):
    """Digests of files that the user gave; None for one that was not given, or that its step will not find either."""
    return [file_digest(path) if path and path.is_file() else None for path in paths]


def previous_state(wildcards):
    """The state from which an iteration runs."""
    ready()
    return f"<run>/it{number(int(wildcards.n) - 1)}/state.json"


def state_content(state):
    """A state file's content, if it is what this run wrote there."""
    try:
        return read_json(
            checked(RunFolder(RUN_CONFIG.run_dir.absolute()), Path(state).absolute())
        )
    except DamagedFile as damage:
        said = f"blush: {damage.path}: {damage.fault}"
        if only_looks():
            raise SystemExit(f"{said}; run the workflow, which makes it anew") from None
        raise WorkflowError(f"{said}; {damage.remedy}") from None


def is_last(state):
    """Whether a state file says that nothing is left to do."""
    return state_content(state)["converged"]


def last_state(wildcards):
    """The state after the last iteration: the only place that asks a checkpoint.

    Iterations on disk are walked over first, so that the initial DAG of a resumed run reaches the interrupted one and
    Snakemake sees what that left half done.
    """
    ready()
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
    if lost := lost_results():
        raise WorkflowError(
            f"blush: {', '.join(lost)} of a finished run: missing; run the same command again, which makes them again"
        )
    return [str(path) for path in results_at_the_end()]


def results_at_the_end():
    """Maps and tables that a finished run leaves."""
    folder = RunFolder(RUN_CONFIG.run_dir)
    state = load_state(folder.state(folder.newest()))
    return last_results(folder, state, subsets_of(RUN_CONFIG))


def lost_results():
    """Those of the results that are not there."""
    return [str(path) for path in results_at_the_end() if not path.exists()]


def tell_lost_results():
    """End with an error where Snakemake, asked for everything, found nothing left to do and the results are not there."""
    asked = {job.rule.name for job in workflow.dag.targetjobs}
    if "all" in asked and (lost := lost_results()):
        raise WorkflowError(
            f"blush: Snakemake ended without {', '.join(lost)}; run it again, without --forcerun"
        )


def memory_of_maps_mb(wildcards, input):
    """Memory of a job that works on whole maps: the package itself, and 40 volumes at a time.

    Sums of one class, of every fold and added up, take 16 volumes each.
    """
    # Where it is not there yet, as in a dry run, Snakemake wants the system's own error.
    Path(input[0]).stat()
    box_px = read_json(input[0])["facts"]["box_px"]
    folds = folds_of(RUN_CONFIG)
    volumes = 40 + (16 * (folds + 3) if folds > 1 else 0)
    return 1500 + round(volumes * 4 * box_px**3 / 1e6)


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
