# One refinement or classification, from a particle STAR file to maps and a report:
#
#     snakemake --profile local --configfile my.yaml      this machine: its CPU cores, or every GPU it has
#     snakemake --profile slurm --configfile my.yaml      a cluster: the workers are SLURM jobs
#
# Or a denoiser's training, from half-maps to weights, where the configuration is one of a training:
#
#     snakemake --profile local train --configfile train.yaml
#
# The same command again continues a run, wherever it was stopped. Every number is computed by the package `blush`; the
# rules say what follows from what. `config/default.yaml` lists the settings.
import sys
from pathlib import Path
from snakemake.utils import min_version

sys.path.insert(0, workflow.basedir)

from blush.cluster.lock import hold_run
from blush.errors import BlushError

min_version("9.19")


include: "workflow/rules/common.smk"


# With its parent's death a step dies too, instead of writing behind the back of the next run.
shell.prefix(
    f"set -euo pipefail; BLUSH_PARENT_PID=$PPID exec {quoted(sys.executable)} -m "
)


if is_training():

    include: "workflow/rules/train.smk"

    rule train:
        default_target: True
        input:
            "<run>/export/manifest.json",
            "<run>/fit/fit.html",
            "<run>/evaluation/evaluation.html",

else:

    include: "workflow/rules/refinement.smk"

    rule all:
        default_target: True
        input:
            results_of_last_iteration,
            expand("<run>/{file}", file=FINISHED),
            "<run>/summary.json",
            "<run>/report.html",
