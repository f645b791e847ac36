#!/usr/bin/env bash
# A SLURM of this machine alone, for tests (Debian or Ubuntu, root, packages slurm-wlm and munge):
#
#     scripts/local_slurm.sh start FOLDER     2 nodes with 2 CPUs and 1 GPU each, which is a dummy device
#     scripts/local_slurm.sh stop FOLDER
#
# All its files are in FOLDER, apart from the link /etc/slurm/slurm.conf, which Snakemake's jobs need and which must not
# exist before: a machine that belongs to a cluster is left alone. Starts munge if that does not run. There is no
# accounting database, so no sacct.
set -euo pipefail
action=$1
folder=$(mkdir -p "$2" && cd "$2" && pwd)
nodes=2 cpus=2 memory_mb=4000
first_port=${SLURM_TEST_PORT:-27000}
configuration=$folder/slurm.conf
link=/etc/slurm/slurm.conf

running() { [ -s "$1" ] && grep -q '^slurm' "/proc/$(cat "$1")/comm" 2>/dev/null; }

write_configuration() {
  local host n
  host=$(hostname -s)
  getent hosts "$host" >/dev/null || echo "127.0.0.1 $host" >>/etc/hosts
  [ -e "$folder/gpu0" ] || mknod "$folder/gpu0" c 1 3
  : >"$folder/gres.conf"
  cat >"$configuration" <<CONF
ClusterName=blushtest
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=sched_interval=2,bf_interval=2,batch_sched_delay=0,sched_min_interval=100000
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
JobCompType=jobcomp/none
GresTypes=gpu
ReturnToService=2
SlurmctldPort=$first_port
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd-%n.pid
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool-%n
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd-%n.log
MinJobAge=600
SlurmdTimeout=20
KillWait=5
CONF
  for n in $(seq $nodes); do
    echo "NodeName=n$n NodeHostname=$host NodeAddr=127.0.0.1 Port=$((first_port + n)) CPUs=$cpus" \
      "RealMemory=$memory_mb Gres=gpu:1 State=UNKNOWN" >>"$configuration"
    echo "NodeName=n$n Name=gpu File=$folder/gpu0" >>"$folder/gres.conf"
  done
  echo "PartitionName=main Nodes=n[1-$nodes] Default=YES MaxTime=INFINITE State=UP" >>"$configuration"
}

start_munge() {
  munge -n 2>/dev/null | unmunge >/dev/null 2>&1 && return
  mkdir -p /run/munge /var/log/munge /var/lib/munge
  [ -s /etc/munge/munge.key ] || dd if=/dev/urandom of=/etc/munge/munge.key bs=1024 count=1 status=none
  chown -R munge:munge /etc/munge /run/munge /var/log/munge /var/lib/munge
  chmod 700 /etc/munge /var/log/munge
  chmod 711 /var/lib/munge
  chmod 755 /run/munge
  chmod 400 /etc/munge/munge.key
  runuser -u munge -- /usr/sbin/munged --force
  for _ in $(seq 50); do
    munge -n 2>/dev/null | unmunge >/dev/null 2>&1 && return
    sleep 0.1
  done
  echo "munge does not start" >&2
  exit 1
}

start() {
  local n
  mkdir -p "$folder/state" /etc/slurm
  [ -e "$configuration" ] || write_configuration
  if [ -e "$link" ] && [ "$(readlink -f "$link")" != "$configuration" ]; then
    echo "$link exists: this machine has a SLURM of its own" >&2
    exit 1
  fi
  ln -sfn "$configuration" "$link"
  ln -sfn "$folder/gres.conf" /etc/slurm/gres.conf
  start_munge
  running "$folder/slurmctld.pid" || slurmctld
  for _ in $(seq 100); do
    scontrol ping 2>/dev/null | grep -q UP && break
    sleep 0.1
  done
  for n in $(seq $nodes); do
    running "$folder/slurmd-n$n.pid" || slurmd -N "n$n"
  done
  for _ in $(seq 150); do
    [ "$(sinfo -h -N -o %T | grep -cE '^(idle|mixed|allocated)$')" = $nodes ] && break
    sleep 0.2
  done
  sinfo -N -o '# %N %P %T %c %m %G'
}

stop() {
  local file
  timeout 10 scancel --state=RUNNING 2>/dev/null || true
  timeout 10 scancel --state=PENDING 2>/dev/null || true
  for file in "$folder"/slurmd-*.pid "$folder/slurmctld.pid"; do
    if running "$file"; then kill "$(cat "$file")" || true; fi
  done
  rm -f "$link" /etc/slurm/gres.conf
}

"$action"
