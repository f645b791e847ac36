#!/usr/bin/env bash
# Train the shipped networks again, the Blush network and the gains of the local Wiener filter, on simulated half-maps and
# on half-maps of refinements, which are made first.
#
#     scripts/train_shipped.sh             about 4 hours of two cores in all
#
# Each part goes on where it was stopped. Results: training/w8d4/export and training/localwiener/export.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=${BLUSH_BIN:-.venv/bin}
export PATH="$PWD/$bin:$PATH"
# Two thirds of the later sets have preferred views, from which overfitting differs most.
pairs=("$bin/python" scripts/refined_pairs.py config/training/models.npz training/refined_pairs)
"${pairs[@]}" --sets 25
"${pairs[@]}" --first 25 --sets 24 --preferred 0.7
snakemake train --profile local --configfile config/train_localwiener.yaml
snakemake train --profile local --configfile config/train_w8d4.yaml
