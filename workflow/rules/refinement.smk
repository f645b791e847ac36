# A refinement or a classification: its configuration, what its rules have in common, its target.
import os

from blush.cluster.client import stop_pool
from blush.cluster.expecting import expect_pool
from blush.cluster.resident import pool_folder
from blush.jobs.recover import make_ready
from blush.jobs.layout import fold_mark
from blush.jobs.results import BODY_FINISHED
from blush.jobs.settings import decisive_settings, input_files
from blush.refine.state import ALGORITHM_VERSION

RUN_CONFIG = checked_config()
SUBSETS = [subset.infix for subset in subsets_of(RUN_CONFIG)]
FOLDS = [fold_mark(fold) for fold in range(folds_of(RUN_CONFIG))]
FINISHED = finished_files(RUN_CONFIG)
# What `body` stands for: of a run of several bodies the folder of each, of any other nothing.
BODIES = bodies_of_run()
REFINED = [body for body, refined in BODIES.items() if refined]
FINISHED_EACH = BODY_FINISHED if RUN_CONFIG.job == "multibody" else FINISHED


pathvars:
    run=str(RUN_CONFIG.run_dir),


wildcard_constraints:
    n=r"(?!000)\d{3}",
    subset="half1|half2|all",
    body=r"body\d{3}/" if RUN_CONFIG.job == "multibody" else r"(?:)",


# Thin clients, which hand their work to the run's pool of workers; without a pool every rule is a job of its own.
if RUN_CONFIG.compute.pool != "inline":

    localrules:
        start,
        expectation,
        reduce,
        denoise_and_trail,
        converge,


localrules:
    all,


include: "stopping.smk"
include: "terminal.smk"
include: "import.smk"
include: "refine.smk"
include: "results.smk"


if RUN_CONFIG.job == "multibody":

    include: "bodies.smk"


onstart:
    ready()  # where no job of those planned has asked for it
    executor = workflow.executor_plugin.name
    os.environ.update(BLUSH_POOL="slurm" if executor == "slurm" else "local")
    try:
        expect_pool(
            pool_folder(RUN_CONFIG.run_dir),
            RUN_CONFIG.compute.model_dump(mode="json"),
        )
    except BlushError as error:
        raise SystemExit(f"blush: {error}") from None
    begin_listening()
    begin_showing()


onsuccess:
    stop_pool(pool_folder(RUN_CONFIG.run_dir))
    end_showing()
    tell_lost_results()
    tell_found()


onerror:
    stopped = end_listening()
    end_showing()
    stop_pool(pool_folder(RUN_CONFIG.run_dir))
    say(
        f"{stopped}the same command continues this run; logs: {RUN_CONFIG.run_dir}/logs, {RUN_CONFIG.run_dir}/.pool"
    )
