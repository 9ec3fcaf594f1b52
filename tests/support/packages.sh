# shellcheck shell=bash
# Sourced by the run scripts: installs what a build needs and this machine lacks.
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)

have() {  # have <Debian package>: what it brings is there, from whatever source
  case $1 in
    g++) command -v "${CXX:-g++}" ;;
    ninja-build) command -v ninja || command -v make ;;
    clang) command -v clang++ ;;
    libeigen3-dev) [[ -n ${CMAKE_PREFIX_PATH:-}${Eigen3_DIR:-} ]] || header eigen3/Eigen/Core ;;
    catch2) [[ -n ${CMAKE_PREFIX_PATH:-}${Catch2_DIR:-} ]] || header catch2/catch.hpp || header catch2/catch_all.hpp ;;
    *) command -v "$1" ;;
  esac >/dev/null
}

header() { [[ -e /usr/include/$1 || -e /usr/local/include/$1 || -e /opt/homebrew/include/$1 ]]; }

need() {  # need <Debian package>...: installs the missing ones with apt-get, or says which they are and fails
  local package missing=() as_root=()
  for package in "$@"; do have "$package" || missing+=("$package"); done
  [[ ${#missing[@]} -gt 0 ]] || return 0
  if ! command -v apt-get >/dev/null; then
    echo "missing on this machine (named as Debian's packages): ${missing[*]}" >&2
    return 1
  fi
  [[ $(id -u) -eq 0 ]] || as_root=(sudo)
  echo "installing ${missing[*]}"
  "${as_root[@]}" apt-get update -qq || true
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

configure() {  # configure <build folder> <cmake arguments>...
  local generator=()
  [[ -e $1/CMakeCache.txt ]] || ! command -v ninja >/dev/null || generator=(-G Ninja)
  cmake -S "$root" -B "$1" "${generator[@]}" "${@:2}" >"$1.log" || { cat "$1.log" >&2; return 1; }
}

cores() { nproc 2>/dev/null || sysctl -n hw.ncpu; }
