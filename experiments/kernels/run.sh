#!/usr/bin/env bash
# Makes all results of this folder, and measures the shipped latency tables again. It takes about half an hour on a quiet
# machine; stop other programs before. On a machine that others use, `CLOCK=--cpu-time ./run.sh` times the first two parts
# by CPU time, and the tables are not measured.
set -euo pipefail
cd "$(dirname "$0")/../.."
export OMP_NUM_THREADS=1
python benchmarks/kernels.py ${CLOCK:-} --json experiments/kernels/kernels.json >experiments/kernels/kernels.log
python benchmarks/latency_chain.py ${CLOCK:-} --json experiments/kernels/chain.json >experiments/kernels/chain.log
[ -z "${CLOCK:-}" ] || exit 0
for space in mnasnet efficientnet; do
  nas latency table --space "$space" --device cpu
done
# Tables of an older form are no longer used; those of this form stay.
form=$(python -c 'from nas.graph.form import FORM; print(FORM)')
grep -L "^# graph: $form$" latency_tables/*.csv | xargs -r rm
