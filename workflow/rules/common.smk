# Functions of the rules; no rules here.
import os
import shlex
import socket
import sys
from functools import cache, lru_cache
from pathlib import Path
import blush
from blush.config import RunConfig
from blush.config.training import holds_training, load_training
from blush.errors import BlushError
from blush.io.files import read_json
from blush.io.json_text import SEAL_KEY
from blush.io.seal import DamagedFile
from blush.jobs.body_runs import body_folders, holding, which_are_refined
from blush.jobs.layout import RunFolder
from blush.jobs.multibody import Reached, whose_turn
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


def say(text):
    """One message, after whatever Snakemake has said."""
    sys.stdout.flush()
    sys.stderr.write(f"blush: {text}\n")
    sys.stderr.flush()


def quoted(text):
    """Text for the shell, and for Snakemake's own formatting."""
    return shlex.quote(text).replace("{", "{{").replace("}", "}}")


def interpreter():
    """What runs the steps: this Python, or with `--sdm conda` that of the environment.

    The environment has all that this package needs, and not the package itself: it sees that through a folder which
    holds nothing else. `-P` keeps Python from taking a user's folder that is called `blush` for the package.
    """
    if DeploymentMethod.CONDA not in workflow.deployment_settings.deployment_method:
        return f"exec {quoted(sys.executable)} -P"
    alone = Path(".snakemake/blush").absolute()
    alone.mkdir(parents=True, exist_ok=True)
    beside = alone / f"{socket.gethostname()}-{os.getpid()}"
    beside.symlink_to(Path(blush.__file__).parent.absolute())
    beside.replace(alone / "blush")
    return f"PYTHONPATH={quoted(str(alone))} exec python -P"


def bodies_of_run():
    """Of each body of a run, by its folder, whether it is refined; a run of another job is one, in no folder."""
    try:
        refined = which_are_refined(RUN_CONFIG)
    except BlushError as error:
        raise WorkflowError(str(error)) from None
    if not refined:
        return {"": True}
    return {f"body{index:03d}/": one for index, one in enumerate(refined, 1)}


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
    folders = (run, *(body.root for body in body_folders(run)))
    names = ("import/*", "it[0-9]*/*")
    for path in (
        path for folder in folders for name in names for path in folder.glob(name)
    ):
        workflow.persistence.cleanup_metadata(IOFile(str(path)))


@cache
def content_of(*paths):
    """Digests of files that the user gave; None for one that was not given, or that its step will not find either."""
    return [file_digest(path) if path and path.is_file() else None for path in paths]


def previous_state(wildcards):
    """The state from which an iteration runs."""
    ready()
    return f"<run>/{wildcards.body}it{number(int(wildcards.n) - 1)}/state.json"


def turn(wildcards):
    """States of the other bodies that an iteration waits for, so that turns are kept; none where there are no bodies.

    Iteration n of a body comes after iteration n of those before it and n - 1 of those after it, or after the one from
    which they wait.
    """
    others = [body for body in REFINED if body != wildcards.body]
    places = {body: REFINED.index(body) for body in REFINED}
    found = [f"<run>/{body}it000/state.json" for body in BODIES if body not in REFINED]
    for body in others:
        wanted = int(wildcards.n) - (places[body] > places[wildcards.body])
        n = 0
        while (
            n < wanted and state_file(body, n).exists() and not reached(body, n).final
        ):
            n += 1
        waits = state_file(body, n).exists() and reached(body, n).final
        found.append(f"<run>/{body}it{number(n if waits else wanted)}/state.json")
    return found


def folder_of_body(wildcards):
    """Folder of the run, or of one of its bodies."""
    return RUN_CONFIG.run_dir / wildcards.body


def imported_of_bodies():
    """What the import leaves for the rules of every body."""
    names = ("plan.npz", "particles.npz", "reference.mrc")
    each = [body for body in BODIES if body]
    return [f"<run>/{body}import/{name}" for body in each for name in names]


def state_file(body, n):
    """The state after an iteration of the run, or of one of its bodies."""
    return RunFolder(RUN_CONFIG.run_dir / body).state(n)


def reached(body, n):
    """What a state says of the next iteration."""
    path = state_file(body, n)
    stat = path.stat()
    return reached_by(path, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=None)
def reached_by(path, *version):
    """`reached`, of one version of a file."""
    content = state_content(path)
    return Reached(content["iteration"], content["final"], content["converged"])


def newest_of(body):
    """How far the run, or one of its bodies, is on disk, from its first iteration on."""
    n = 0
    while state_file(body, n + 1).exists():
        n += 1
    return (
        reached(body, n) if state_file(body, n).exists() else Reached(0, False, False)
    )


def state_content(state):
    """A state file's content, if it is what this run wrote there."""
    path = Path(state).absolute()
    try:
        return read_json(
            checked(
                holding(RunFolder(RUN_CONFIG.run_dir.absolute()), path),
                path,
            )
        )
    except DamagedFile as damage:
        said = f"blush: {damage.path}: {damage.fault}"
        if only_looks():
            raise SystemExit(f"{said}; run the workflow, which makes it anew") from None
        raise WorkflowError(f"{said}; {damage.remedy}") from None


def last_states(wildcards):
    """The states after the last iterations of all bodies, or of the one run: the only place that asks a checkpoint.

    Iterations on disk are walked over first, so that the initial DAG of a resumed run reaches the interrupted one and
    Snakemake sees what that left half done. The next is asked for until there is none.
    """
    ready()
    found = [newest_of(body) for body in REFINED]
    due = whose_turn(found)
    if due is not None:
        checkpoints.converge.get(body=REFINED[due], n=number(found[due].iteration + 1))
    return [
        checkpoints.converge.get(body=body, n=number(one.iteration)).output.state
        for body, one in zip(REFINED, found)
    ]


def last_state(wildcards):
    """That of one body, or of the one run, once all are refined."""
    return last_states(wildcards)[REFINED.index(wildcards.body)]


def results_of_last_iteration(wildcards):
    """What the last iteration writes beside its own folder, under RELION's names."""
    last_states(wildcards)
    if lost := lost_results():
        raise WorkflowError(
            f"blush: {', '.join(lost)} of a finished run: missing; run the same command again, which makes them again"
        )
    return [str(path) for path in results_at_the_end()]


def results_at_the_end():
    """Maps and tables that a finished run leaves, or each of its bodies."""
    found = []
    for body in REFINED:
        folder = RunFolder(RUN_CONFIG.run_dir / body)
        state = load_state(folder.state(folder.newest()))
        found += last_results(folder, state, subsets_of(RUN_CONFIG))
    return found


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
