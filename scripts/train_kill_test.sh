#!/usr/bin/env bash
# Does a training end with the same bytes, whatever dies on the way?
#
#     scripts/train_kill_test.sh [KILLS] [SEED]      default: 10 kills; a seed of its own, which is printed
#
# Trains a tiny network on a stand-in of EMDB that is slow, busy and breaks connections, through Snakemake, under `kill -9`
# of Snakemake and all its steps at random moments; goes on with the same command; and compares manifest, index of maps,
# losses, exported weights and evaluation with those of a training left alone. A training that is done cannot be killed:
# another one begins, until all kills are done. Takes about 20 s a kill. BLUSH_BIN names the folder of the installed
# commands (.venv/bin).
set -euo pipefail
cd "$(dirname "$0")/.."
export BLUSH_KILLS=${1:-10} BLUSH_KILL_SEED=${2:-$RANDOM}
echo "$BLUSH_KILLS kills, seed $BLUSH_KILL_SEED"
exec "${BLUSH_BIN:-.venv/bin}/python" -m pytest tests/workflow/test_train.py -k killed --log-cli-level=INFO
