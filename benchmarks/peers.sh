#!/usr/bin/env bash
# Installs the libraries that benchmarks/run --peers compares with, as far as PyPI has them, in .build/peers (a virtual
# environment; up to 8 GB, as PyPI's PyTorch is the one for GPUs):
#   benchmarks/peers.sh [--remove]
# The C++ frontend of PyTorch is in its package. mlpack's package lacks ensmallen, and MiniDNN has none.
set -euo pipefail
# shellcheck source=tests/support/packages.sh
source "$(dirname "${BASH_SOURCE[0]}")/../tests/support/packages.sh"

folder=$root/.build/peers
if [[ ${1:-} == --remove ]]; then
  rm -rf "$folder"
  exit
fi
command -v python3 >/dev/null || need python3 python3-venv
mkdir -p "$root/.build"
python3 -m venv "$folder"
failed=()
for package in torch jax tensorflow-cpu torchjd qpsolvers quadprog; do  # one by one: any may be missing for this machine
  echo "installing $package"
  "$folder/bin/pip" install --quiet --no-cache-dir "$package" || failed+=("$package")
done
if [[ ${#failed[@]} -gt 0 ]]; then
  echo "not installed: ${failed[*]}" >&2
fi
