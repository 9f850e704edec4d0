# Sourced by ./run, ./check and .ci/run: installs what is missing, configures, builds. Needs bash.
# Nothing here touches the network when nothing is missing.

holdfast_root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

say() { printf '==> %s\n' "$*" >&2; }
die() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}

# packages_of <section>...: the names in those sections of debian-packages.txt.
packages_of() {
  local sections=" $* "
  awk -v sections="$sections" '
    /^#/ || NF == 0 { next }
    /^\[/ { gsub(/[][]/, ""); wanted = index(sections, " " $0 " "); next }
    wanted { print $1 }' "$holdfast_root/packaging/debian-packages.txt"
}

# install_packages <section>...: does nothing when all are there; otherwise needs root.
install_packages() {
  if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
    say "not a Debian system: install by hand what packaging/debian-packages.txt lists ($*)"
    return 0
  fi
  local name missing=()
  for name in $(packages_of "$@"); do
    [[ $(dpkg-query -W -f='${db:Status-Status}' "$name" 2>/dev/null) == installed ]] || missing+=("$name")
  done
  [[ ${#missing[@]} -eq 0 ]] && return 0
  if [[ $(id -u) -ne 0 ]]; then
    die "missing packages; run this and try again:
  sudo apt-get update && sudo apt-get install -y --no-install-recommends ${missing[*]}"
  fi
  say "installing ${missing[*]}"
  # Debian starts a service as soon as it is installed; redis-server would take port 6379.
  local policy=/usr/sbin/policy-rc.d guard=
  if [[ ! -e $policy ]]; then
    guard=$policy
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
  fi
  local failed=0
  {
    apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "${missing[@]}"
  } >&2 || failed=1
  [[ -z $guard ]] || rm -f "$guard"
  [[ $failed -eq 0 ]] || die "could not install: ${missing[*]}"
}

# build <directory under build/> <cmake arguments>... [-- <targets>...]
build() {
  local directory=$holdfast_root/build/$1
  shift
  local arguments=() targets=()
  while [[ $# -gt 0 && $1 != -- ]]; do
    arguments+=("$1")
    shift
  done
  [[ $# -eq 0 ]] || shift
  local target
  for target in "$@"; do targets+=(--target "$target"); done
  say "building in $directory"
  # Quiet when all goes well; the whole configure output when it does not.
  local output
  output=$(cmake -S "$holdfast_root" -B "$directory" -G Ninja -DCMAKE_BUILD_TYPE=Release "${arguments[@]}" 2>&1) ||
    die "cmake failed:
$output"
  cmake --build "$directory" --parallel "$(nproc)" "${targets[@]}" >&2 || die "the build in $directory failed"
}
