#!/usr/bin/env bash
# Are the results the same bytes, whoever computes them and whatever dies on the way?
#
#     scripts/kill_test.sh [KILLS] [CONFIG]      default: 4 kills, config/demo.yaml (after `make demo`, or `blush simulate`)
#
# Refines one configuration in one process, with 2 workers, with 4 workers, and with 2 workers under KILLS random
# `kill -9` of Snakemake, a worker, the pool and a rule in turn. Snakemake's death is followed by the same command again;
# the others' deaths it has to get over. Then compares SHA-256 of all maps, tables, states, poses and of the summary, its
# times aside. Takes the time of about four runs. BLUSH_BIN names the folder of the installed commands (.venv/bin).
set -euo pipefail
kills=${1:-4}
root=$(cd "$(dirname "$0")/.." && pwd)
config=$(readlink -f "${2:-$root/config/demo.yaml}")
bin=${BLUSH_BIN:-$root/.venv/bin}
work=$(mktemp -d "${TMPDIR:-/tmp}/blush-kill-test.XXXXXX")
mkdir "$work/hashes"

# One configuration per way of running; each works in a folder of its own, so that the paths in tables agree.
configure() { # $1 = way, $2 = workers
  mkdir "$work/$1"
  "$bin/python" "$root/scripts/derive_config.py" "$config" "$work/$1" "$2" >"$work/$1/run.yaml"
}
run_snakemake() { # $1 = way
  cd "$work/$1"
  exec "$bin/python" -m snakemake --snakefile "$root/workflow/Snakefile" --profile "$root/profiles/local" \
    --configfile run.yaml --cores 4
}
results() { echo "$work/$1/results/run"; }
record() { # $1 = way
  (
    cd "$(results "$1")"
    find . -type f \( -name '*.mrc' -o -name '*.star' -o -name '*.bild' -o -name '*.xml' \
      -o -path './it*/state.json' -o -path './it*/poses.npz' -o -path './it*/maps.npz' \) -print0 |
      sort -z | xargs -0 -I{} sh -c 'printf "%s  %s\n" "$(sed "s#$0#RUN#g" "$1" | sha256sum | cut -c1-64)" "$1"' "$PWD" {}
    "$bin/python" -c 'import json, hashlib
summary = json.load(open("summary.json"))
summary.pop("timing")
print(hashlib.sha256(json.dumps(summary, sort_keys=True).encode()).hexdigest(), " summary.json")'
  ) >"$work/hashes/$1"
  echo "$1: $(wc -l <"$work/hashes/$1") files, together $(sha256sum "$work/hashes/$1" | cut -c1-16)"
}

# The processes of the run under test alone: those that have its folder on their command line.
processes() { # $1 = way, $2 = pattern
  pgrep -f -- "$2" | while read -r pid; do
    tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null | grep -q "$work/$1" && echo "$pid"
  done || true
}
victim() { # $1 = way, $2 = kind, $3 = Snakemake's process
  case $2 in
    snakemake) echo "$3" ;;
    worker) processes "$1" blush.cluster.worker | shuf -n 1 ;;
    pool) processes "$1" blush.cluster.pool | head -n 1 ;;
    rule) pgrep -P "$3" -f 'blush (expectation|reduce|denoise-and-trail|converge|start)' | shuf -n 1 || true ;;
  esac
}
iterations() { find "$(results "$1")" -path '*/it*/state.json' 2>/dev/null | wc -l; }
progress() { cat "$(results "$1")/progress.jsonl" 2>/dev/null | wc -l; }
start() { # $1 = way; sets snakemake
  run_snakemake "$1" >>"$work/$1.log" 2>&1 &
  snakemake=$!
}
alive() { kill -0 "$1" 2>/dev/null; }

kill_one() { # $1 = way, $2 = kind: after some progress and at a random moment
  local pid="" wanted=$(($(progress "$1") + 1 + RANDOM % 8))
  while alive "$snakemake" && [ "$(progress "$1")" -lt "$wanted" ]; do sleep 0.02; done
  sleep "0.$((RANDOM % 10))"
  while alive "$snakemake" && [ -z "$pid" ]; do pid=$(victim "$1" "$2" "$snakemake"); done
  if [ -n "$pid" ] && kill -9 "$pid" 2>/dev/null; then
    echo "  kill -9 of $2 ($pid) after $(($(iterations "$1") - 1)) iterations"
  else
    echo "  the run ended before its $2 could be killed"
  fi
  if [ "$2" = snakemake ] && [ -n "$pid" ]; then
    wait "$snakemake" 2>/dev/null || true
    start "$1"
  fi
}

configure one 1
(cd "$work/one" && exec "$bin/python" -m blush refine run.yaml --quiet) >"$work/one.log" 2>&1
record one
for workers in 2 4; do
  configure "workers$workers" "$workers"
  (run_snakemake "workers$workers") >"$work/workers$workers.log" 2>&1
  record "workers$workers"
done
configure killed 2
kinds=(worker snakemake rule pool)
start killed
for ((k = 0; k < kills; k++)); do
  kill_one killed "${kinds[k % 4]}"
done
wait "$snakemake"
record killed

failed=0
for way in workers2 workers4 killed; do
  diff "$work/hashes/one" "$work/hashes/$way" || failed=1
done
if [ $failed = 0 ]; then
  rm -rf "$work"
  echo PASS
else
  echo "FAIL: the runs are kept in $work"
  exit 1
fi
