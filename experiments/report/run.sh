#!/usr/bin/env bash
# Makes the report pages and pictures of this folder: a search on photos of handwritten digits, and one on NAS-Bench-Macro.
# NAS_TEST_DATA names the folder of the data; TRIALS and MACRO_TRIALS set the numbers of trials.
set -euo pipefail
cd "$(dirname "$0")"
storage=sqlite:///report.db

nas search --target flops=100M --data "$NAS_TEST_DATA/hand_digits" --space mnasnet \
  --epochs 2 --proxy-resolution 32 --trials "${TRIALS:-24}" --confirm 3 --study hand_digits \
  --storage "$storage" --quiet
nas search --space nasbench_macro --target flops=60M --band 0.5 --trials "${MACRO_TRIALS:-100}" \
  --evaluator "table:$NAS_TEST_DATA/nasbench_macro.parquet" --ignore-columns 'op*' --study nasbench_macro \
  --storage "$storage" --quiet

for study in hand_digits nasbench_macro; do
  nas report "$study" --out "$study.html" --storage "$storage"
  python pictures.py "$study.html"
done
