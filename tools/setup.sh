# shellcheck shell=bash disable=SC2034 # used by those who source it
# tools/quickstart and tools/check share this: getting what Tutti needs, configuring a build, and running a stage with
# one line on the screen and the rest in a log.  Sourced, not run.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build=$root/build
logs=$build/logs
mkdir -p "$logs"

have() { command -v "$1" >/dev/null 2>&1; }
die() {
  printf '\n%s: %s\n' "${0##*/}" "$*" >&2
  exit 1
}

# stage TEXT LOG COMMAND…: one line on the screen, the output in $logs/LOG.log; if the command fails, the end of that
# log and status 1.
stage() {
  local text=$1 log=$logs/$2.log started=$SECONDS
  shift 2
  printf '%-60s ' "$text"
  if "$@" >"$log" 2>&1 </dev/null; then
    printf 'done (%d s)\n' $((SECONDS - started))
    return 0
  fi
  printf 'FAILED\n\n'
  tail -n 60 "$log"
  printf '\nAll of it: %s\n' "$log"
  return 1
}

# ---- what is needed: the Debian package, then the question whether it (or an equal, by whatever means) is there ----
# docs/dependencies.md says why each was chosen.

meson_found() { have meson && printf '1.0\n%s\n' "$(meson --version)" | sort -VC; }
module() { have pkg-config && pkg-config --exists "$*"; }
python_has() { /usr/bin/python3 -c "import $1" 2>/dev/null; }
static_busybox() { have busybox && ! ldd "$(command -v busybox)" >/dev/null 2>&1; }
fuzzer_found() { have clang++ && compgen -G "$(clang++ -print-resource-dir)/lib/*/libclang_rt.fuzzer*" >/dev/null; }

to_build=(
  'g++                  have g++'
  'pkg-config           have pkg-config'
  'meson                meson_found'
  'ninja-build          have ninja'
  'libhwy-dev           module libhwy >= 1.0'
  'libhwloc-dev         module hwloc'
  'libpmix-dev          module pmix'
  'libibverbs-dev       module libibverbs'
  'libucx-dev           module ucx >= 1.13'
  'libcli11-dev         module CLI11'
  'nlohmann-json3-dev   module nlohmann_json'
)
to_test=(
  'libgtest-dev         module gtest'
  'libgmock-dev         module gmock'
  'libbenchmark-dev     module benchmark'
  'clang                have clang++'
  'libclang-rt-@-dev    fuzzer_found'
)
# Tests that need these skip themselves where they are not to be had.
to_test_more=(
  'openmpi-bin          have mpirun.openmpi'
  'mpich                have mpiexec.hydra'
  'iproute2             have ip'
  'python3-numpy        python_has numpy'
  'python3-sklearn      python_has sklearn'
)
# RDMA in a virtual machine (tests/rdma/README.md).  Not every system has these.
to_test_rdma=(
  'qemu-system-x86      have qemu-system-x86_64'
  'busybox-static       static_busybox'
  'ibverbs-providers    test -e /etc/libibverbs.d/rxe.driver'
  'ibverbs-utils        have ibv_rc_pingpong'
)

# missing ENTRY…: the packages whose question is answered with no.
missing() {
  local package question
  for entry in "$@"; do
    read -r package question <<<"$entry"
    $question || printf '%s\n' "$package"
  done
}

# The run-time part of clang (sanitizers, libFuzzer) is packaged under clang's major version.
with_clang_version() {
  local version=N
  if have clang++; then
    version=$(clang++ -dumpversion)
  elif have apt-cache; then
    version=$(apt-cache depends clang 2>/dev/null | sed -n 's/.*Depends: clang-\([0-9]*\)$/\1/p')
  fi
  sed "s/@/${version%%.*}/"
}

as_root() {
  if [ "$(id -u)" = 0 ]; then env "$@"; else sudo -n env "$@"; fi
}

may_install() { have apt-get && { [ "$(id -u)" = 0 ] || { have sudo && sudo -n true 2>/dev/null; }; }; }

# Lists that cannot be refreshed may still do, so only the second command decides.
apt_install() {
  as_root DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 update || true
  mapfile -t packages < <(printf '%s\n' "$@" | with_clang_version)
  as_root DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 install -y --no-install-recommends "${packages[@]}"
}

# get ENTRY…: installs what is missing, or says exactly what that is and stops.
get() {
  local packages
  mapfile -t packages < <(missing "$@")
  [ ${#packages[@]} -gt 0 ] || return 0
  if may_install; then
    stage "Installing ${#packages[@]} packages" install apt_install "${packages[@]}" ||
      die "apt-get could not install what is missing; its last lines are above."
    mapfile -t packages < <(missing "$@")
    [ ${#packages[@]} -gt 0 ] || return 0
  fi
  mapfile -t packages < <(printf '%s\n' "${packages[@]}" | with_clang_version)
  printf 'These are missing, or too old (Debian 12 and Ubuntu 24.04 have them):\n\n  apt-get install %s\n' "${packages[*]}" >&2
  die "please have them installed (elsewhere than on Debian or Ubuntu: the same libraries under your system's names)," \
    'then run me again.'
}

# try_to_get ENTRY…: installs what is missing if that can be done.
try_to_get() {
  local packages
  mapfile -t packages < <(missing "$@")
  [ ${#packages[@]} -eq 0 ] || stage "Installing ${#packages[@]} packages" install-more apt_install "${packages[@]}" || true
}

# configure NAME OPTION…: the build folder build/NAME, with exactly these options; does nothing when it has them.
configure() {
  local folder=$build/$1 state=$build/$1.options
  shift
  [ -e "$folder/build.ninja" ] || rm -rf "$folder" "$state"
  [ "$(cat "$state" 2>/dev/null)" != "$*" ] || return 0
  if [ -d "$folder" ]; then
    meson setup --reconfigure "$@" "$folder" "$root"
  else
    meson setup "$@" "$folder" "$root"
  fi || return
  printf '%s\n' "$*" >"$state"
}
