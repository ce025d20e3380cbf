#!/usr/bin/env bash
# Take down the SLURM that up.sh brought up in DIR: cancel its jobs, end its daemons. Logs stay. down.sh DIR
set -uo pipefail
[ $# = 1 ] || { echo "mini-slurm: usage: down.sh DIR" >&2; exit 1; }
[ -d "$1" ] || exit 0
dir=$(cd "$1" && pwd -P)
export SLURM_CONF=$dir/slurm.conf

# the process of a pid file, if it is still the daemon that wrote it
daemon() {
  local pid
  pid=$(cat "$1" 2>/dev/null) || return 1
  [ -n "$pid" ] && tr '\0' ' ' < "/proc/$pid/cmdline" 2>/dev/null | grep -q -- "$dir" && echo "$pid"
}

if daemon "$dir/slurmctld.pid" > /dev/null; then
  jobs=$(timeout 10 squeue --noheader --format=%A 2>/dev/null | sort -u)
  if [ -n "$jobs" ]; then
    # shellcheck disable=SC2086
    timeout 10 scancel --signal=KILL --full $jobs 2>/dev/null
    # shellcheck disable=SC2086
    timeout 10 scancel $jobs 2>/dev/null
    for _ in $(seq 40); do
      [ -z "$(timeout 10 squeue --noheader 2>/dev/null)" ] && break
      sleep 0.25
    done
  fi
fi
for name in node1 node2 slurmctld munged; do
  pid=$(daemon "$dir/$name.pid") || continue
  kill "$pid" 2>/dev/null
  for _ in $(seq 40); do
    [ -d "/proc/$pid" ] || break
    sleep 0.25
  done
  [ -d "/proc/$pid" ] && kill -KILL "$pid" 2>/dev/null
  rm -f "$dir/$name.pid"
done
exit 0
