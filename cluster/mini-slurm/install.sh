#!/usr/bin/env bash
# Install the packages of the mini SLURM if they are missing: root on Debian or Ubuntu. install.sh
set -euo pipefail
export PATH=$PATH:/usr/sbin:/sbin
missing=()
for pair in slurmctld:slurmctld slurmd:slurmd srun:slurm-client munged:munge; do
  command -v "${pair%%:*}" > /dev/null || missing+=("${pair##*:}")
done
[ ${#missing[@]} = 0 ] && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get > /dev/null; then
  apt-get -qq update
  DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "${missing[@]}" > /dev/null
elif [ -n "${CI:-}" ]; then
  echo "mini-slurm: missing packages: ${missing[*]}; they are needed in CI, as root" >&2
  exit 1
else
  echo "mini-slurm: missing packages: ${missing[*]}; the tests on SLURM will be skipped: they need root and these" >&2
fi
