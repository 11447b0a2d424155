#!/usr/bin/env bash
# Train and test a preset on the GPU of this machine, for at most so many minutes. Exit code 85: the time is up; give
# the same command again to resume.
#   benchmarks/gpu/run.sh dmgasr-paper 25 -S dataset.name=cave -S dataset.root=/data/cave
set -euo pipefail
preset=${1:?preset} minutes=${2:?minutes}
shift 2
cd "$(dirname "$0")/../.."
read -ra overrides < <(python -m flows preset "$preset")
exec python -m tasks repro --stop-after "$minutes" "${overrides[@]}" \
  -S hardware.accelerator=cuda -S hardware.precision=bf16-mixed "$@"
