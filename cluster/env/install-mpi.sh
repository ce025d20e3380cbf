#!/usr/bin/env bash
# Install MPI, mpi4py, PETSc and petsc4py into a virtual environment, all on one MPI: install-mpi.sh [VENV]
#
# Without PETSC_DIR: the `mpich` wheel, and PETSc built from its sources with the mpicc of that wheel, once; the wheels
# are kept in ${XDG_CACHE_HOME:-~/.cache}/henderson/wheels and found again by versions, options, Python and machine.
# With PETSC_DIR (and PETSC_ARCH): a site's own PETSc; petsc4py and mpi4py are built against it and its MPI (MPICC).
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
python=${1:-$here/../../.venv}/bin/python
series=3.26   # PETSc and petsc4py go together
mpich=5.0     # the MPI of the wheels
export PETSC_CONFIGURE_OPTIONS=${PETSC_CONFIGURE_OPTIONS:---with-fc=0 --with-cxx=0 --with-64-bit-indices=1 --with-x=0 --with-debugging=0}

die() { echo "install-mpi: $*" >&2; exit 1; }
say() { echo "install-mpi: $*" >&2; }
pip() { "$python" -m pip --disable-pip-version-check --quiet "$@"; }
[ -x "$python" ] || die "$python: no such Python; make a virtual environment first"

# needs the commands and the library named by packages: installed by root on Debian and Ubuntu, asked for elsewhere
need() {
  local missing=()
  command -v cc > /dev/null && command -v make > /dev/null || missing+=(build-essential)
  if [ "${1:-}" = blas ]; then
    echo 'int main(void) { return 0; }' | cc -x c - -lopenblas -o /dev/null 2> /dev/null || missing+=(libopenblas-dev)
  fi
  [ ${#missing[@]} = 0 ] && return
  if [ "$(id -u)" = 0 ] && command -v apt-get > /dev/null; then
    say "installing ${missing[*]}"
    apt-get -qq update
    DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "${missing[@]}" > /dev/null
  else
    die "missing: ${missing[*]} (names of Debian's packages); install them, or set PETSC_DIR to a PETSc that is there"
  fi
}

# loads all three, on two ranks with the launcher beside this Python if there is one
check() {
  local launcher
  launcher=$(dirname "$python")/mpiexec
  if [ -x "$launcher" ]; then
    timeout 120 "$launcher" -n 2 "$python" -W error "$here/check_mpi.py" "$series"
  else
    timeout 120 "$python" -W error "$here/check_mpi.py" "$series"
  fi
}

if [ -n "${PETSC_DIR:-}" ]; then
  header=$PETSC_DIR/include/petscversion.h
  conf=$PETSC_DIR/${PETSC_ARCH:-}/include/petscconf.h
  [ -e "$header" ] && [ -e "$conf" ] || die "PETSC_DIR=$PETSC_DIR PETSC_ARCH=${PETSC_ARCH:-}: no petscversion.h and petscconf.h there"
  there=$(awk '$2 == "PETSC_VERSION_MAJOR" {a = $3} $2 == "PETSC_VERSION_MINOR" {b = $3} END {print a "." b}' "$header")
  [ "$there" = "$series" ] || die "PETSC_DIR holds PETSc $there; $series is needed"
  grep -q 'PETSC_USE_64BIT_INDICES 1' "$conf" || die "the PETSc in PETSC_DIR has 32-bit indices; configure it with --with-64-bit-indices=1"
  need
  say "building mpi4py and petsc4py for the PETSc in $PETSC_DIR"
  pip install 'numpy>=2.0' 'cython>=3.1' setuptools wheel
  pip install --no-binary mpi4py 'mpi4py>=4.0'
  pip install --no-deps --no-build-isolation --no-binary petsc4py "petsc4py==$series.*"
  check
  exit
fi

need blas
bin=$(dirname "$python")
bin=$(cd "$bin" && pwd)
export PATH=$bin:$PATH
pip install "mpich==$mpich.*" 'mpi4py>=4.0' 'numpy>=2.0'

tag=$("$python" -c 'import platform, sys; print(f"cp{sys.version_info[0]}{sys.version_info[1]}-{platform.machine()}-" + "-".join(platform.libc_ver()))')
key=$(printf '%s\n' "$series" "$mpich" "$PETSC_CONFIGURE_OPTIONS" "$tag" | sha256sum | cut -c 1-16)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/henderson/wheels/$key
mkdir -p "$cache"
exec 9> "$cache/lock"   # two builds at once: the second waits and takes the wheels of the first
flock 9
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
found() { find "$cache" -maxdepth 1 -name "$1-$series.*.whl" | sort | tail -n 1; }

if [ -z "$(found petsc)" ]; then
  say "building PETSc $series from source: about five minutes on two cores; log in $cache/petsc.log"
  pip wheel --verbose --no-deps --no-binary petsc --no-cache-dir -w "$work" "petsc==$series.*" > "$cache/petsc.log" 2>&1 \
    || { tail -n 30 "$cache/petsc.log" >&2; die "PETSc was not built"; }
  mv "$work"/petsc-*.whl "$cache"
fi
pip install --no-deps --force-reinstall "$(found petsc)"
if [ -z "$(found petsc4py)" ]; then
  say "building petsc4py $series from source: about as long; log in $cache/petsc4py.log"
  pip install 'cython>=3.1' setuptools wheel
  PETSC_DIR=$("$python" -c 'import petsc; print(petsc.get_petsc_dir())')
  export PETSC_DIR
  pip wheel --verbose --no-deps --no-build-isolation --no-binary petsc4py --no-cache-dir -w "$work" "petsc4py==$series.*" \
    > "$cache/petsc4py.log" 2>&1 || { tail -n 30 "$cache/petsc4py.log" >&2; die "petsc4py was not built"; }
  mv "$work"/petsc4py-*.whl "$cache"
fi
pip install --no-deps --force-reinstall "$(found petsc4py)"
check
