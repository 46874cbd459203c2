#!/usr/bin/env bash
# Makes all tables and figures of this folder. It takes hours on one core, most of them for the long training runs of
# mnasnet, and continues where it was interrupted. NAS_TEST_DATA names the folder of the data.
set -euo pipefail
cd "$(dirname "$0")"
small=$NAS_TEST_DATA/cifar10_small
untrained=(--evaluator zero-cost:{combined,naswot,distinctness,depth,macs,params})
macro=(--space nasbench_macro --truth "table:$NAS_TEST_DATA/nasbench_macro.parquet" --ignore-columns 'op*' --seeds 1)

nas check "${macro[@]}" --data "$small" --networks 300 --time-limit 180 "${untrained[@]}" \
  --evaluator supernet:epochs=18,resolution=16 \
  --evaluator train:epochs=3,resolution=16,images=4000,networks=30 \
  --evaluator train:epochs=1,resolution=16,images=4000,networks=30 \
  --png nasbench_macro.png --json >nasbench_macro.json
nas check "${macro[@]}" --data "$NAS_TEST_DATA/cifar10" --networks 30 --time-limit 180 \
  --evaluator train:epochs=3,resolution=16,images=12000 --json >nasbench_macro_trained.json
nas check --space mnasnet --target flops=200M --data "$small" --images 5000 --networks 16 --seeds 2 --time-limit 300 \
  --truth train:epochs=10 "${untrained[@]}" --evaluator supernet:epochs=18 --evaluator train:epochs=3 \
  --evaluator train:epochs=1 --evaluator train:epochs=3,resolution=16 --png mnasnet.png --json >mnasnet.json
python ../../benchmarks/screening.py --limit 50M --runs 4 --trials 16 --epochs 2 --out .
