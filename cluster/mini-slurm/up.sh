#!/usr/bin/env bash
# Bring up a SLURM of two nodes on this one host, for tests: up.sh DIR
#
# Everything it makes lies in DIR (configuration, munge key, spools, logs); nothing outside is changed. Prints the
# environment to use, `export SLURM_CONF=DIR/slurm.conf`; the same again, where it runs already. Needs root.
set -euo pipefail

die() { echo "mini-slurm: $*" >&2; exit 1; }

[ $# = 1 ] || die "usage: up.sh DIR"
[ "$(id -u)" = 0 ] || die "needs root: slurmd starts the jobs of other users"
PATH=$PATH:/usr/sbin:/sbin
missing=()
for pair in slurmctld:slurmctld slurmd:slurmd srun:slurm-client munged:munge python3:python3; do
  command -v "${pair%%:*}" >/dev/null || missing+=("${pair##*:}")
done
[ ${#missing[@]} = 0 ] || die "missing packages: ${missing[*]}; apt-get install ${missing[*]}"

mkdir -p "$1"
chmod 755 "$1"
dir=$(cd "$1" && pwd -P)
[ ${#dir} -lt 80 ] || die "$dir: the path is too long for the sockets in it; at most 80 characters"
export SLURM_CONF=$dir/slurm.conf
cpus=${MINI_SLURM_CPUS:-$(($(nproc) > 2 ? $(nproc) : 2))}   # of each node: they share the host's

tell() { echo "export SLURM_CONF=$SLURM_CONF"; exit 0; }
idle() { timeout 10 sinfo --noheader --Node --format='%N %t' 2>/dev/null | grep -Ec '^node[12] (idle|mix|alloc)$' || true; }
[ -e "$SLURM_CONF" ] && [ "$(idle)" = 2 ] && tell
"$(dirname "$0")/down.sh" "$dir"

mkdir -p "$dir"/{munge,state,spool,log}
chmod 700 "$dir/munge" "$dir/state"
[ -s "$dir/munge/key" ] || head -c 1024 /dev/urandom > "$dir/munge/key"
chmod 400 "$dir/munge/key"
# clients of any user reach the socket, nobody else reads the key
mkdir -p "$dir/socket"
chmod 755 "$dir/socket"

read -r port1 port2 port3 < <(python3 -c '
import socket
sockets = [socket.socket() for _ in range(3)]
for s in sockets:
    s.bind(("127.0.0.1", 0))
print(*(s.getsockname()[1] for s in sockets))')
memory=$(awk '/MemTotal/ {print int($2 / 1024 / 2)}' /proc/meminfo)
host=$(hostname -s)

cat > "$SLURM_CONF" <<CONF
ClusterName=mini
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$port1
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
# cred_expire: a requeued job waits so many seconds before it starts again (120 by default)
AuthInfo=socket=$dir/socket/munge,cred_expire=6
MpiDefault=pmi2
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=2,batch_sched_delay=0,bf_interval=2
# both nodes are this host: neither has the cores and memory for itself
SlurmdParameters=config_overrides
DefMemPerCPU=$((memory / cpus / 2))
JobRequeue=1
ReturnToService=2
OverTimeLimit=0
KillWait=5
InactiveLimit=0
MinJobAge=600
SlurmctldTimeout=60
SlurmdTimeout=60
MessageTimeout=30
StateSaveLocation=$dir/state
SlurmctldPidFile=$dir/slurmctld.pid
SlurmctldLogFile=$dir/log/slurmctld.log
SlurmdSpoolDir=$dir/spool/%n
SlurmdPidFile=$dir/%n.pid
SlurmdLogFile=$dir/log/%n.log
NodeName=node1 NodeHostname=$host NodeAddr=127.0.0.1 Port=$port2 CPUs=$cpus RealMemory=$memory State=UNKNOWN
NodeName=node2 NodeHostname=$host NodeAddr=127.0.0.1 Port=$port3 CPUs=$cpus RealMemory=$memory State=UNKNOWN
PartitionName=main Nodes=node[1-2] Default=YES MaxTime=INFINITE State=UP
CONF
chmod 644 "$SLURM_CONF"
echo "CgroupAutomount=no" > "$dir/cgroup.conf"

fail() {
  for log in "$dir"/log/*; do
    echo "--- $log" >&2
    tail -n 15 "$log" >&2
  done
  "$(dirname "$0")/down.sh" "$dir"
  die "$*; the logs are in $dir/log"
}

# munged's seed and logs in DIR too; --force: DIR may lie below a folder that everybody may write to, as /tmp
munged --force --key-file="$dir/munge/key" --socket="$dir/socket/munge" --pid-file="$dir/munged.pid" \
  --log-file="$dir/log/munged.log" --seed-file="$dir/munge/seed" --num-threads=2 2>> "$dir/log/munged.err" \
  || fail "munged did not start"
slurmctld -c -f "$SLURM_CONF" > "$dir/log/start.log" 2>&1 || fail "slurmctld did not start"
for node in node1 node2; do
  mkdir -p "$dir/spool/$node"
  slurmd -N "$node" -f "$SLURM_CONF" >> "$dir/log/start.log" 2>&1 || fail "slurmd of $node did not start"
done

for _ in $(seq 120); do
  [ "$(idle)" = 2 ] && tell
  sleep 0.5
done
timeout 10 sinfo -N -l >&2 || true
fail "the two nodes were not idle after 60 seconds"
