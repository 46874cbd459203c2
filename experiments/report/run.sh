#!/usr/bin/env bash
# Makes the report pages and pictures of this folder: `./run.sh` all of them, `./run.sh nasbench_macro` those of one study.
# NAS_TEST_DATA names the folder of the data; TRIALS and MACRO_TRIALS set the numbers of trials.
set -euo pipefail
cd "$(dirname "$0")"
storage=sqlite:///report.db

search_hand_digits() { # the search of docs/tutorial.md
  nas search --target flops=35M --resolution 96 --data "$NAS_TEST_DATA/hand_digits" --pretrained efficientnet-lite0 \
    --proxy-resolution 64 --trials "${TRIALS:-10}" --confirm 2 --workers 2 --threads 1 --study hand_digits \
    --storage "$storage" --quiet
}

search_nasbench_macro() {
  nas search --space nasbench_macro --target flops=60M --band 0.5 --trials "${MACRO_TRIALS:-100}" --accuracy acc_seed0 \
    --evaluator "table:$NAS_TEST_DATA/nasbench_macro.parquet" --ignore-columns 'op*' --study nasbench_macro \
    --storage "$storage" --quiet
}

draw_for_pages() { # the pictures of docs/tutorial.md and README.md
  cp hand_digits-top.png ../../docs/pictures/report.png
  nas pareto hand_digits --png ../../docs/pictures/front.png --storage "$storage"
  python pictures.py ../../docs/pictures/front.png
}

[ $# -gt 0 ] || set -- hand_digits nasbench_macro
for study in "$@"; do
  "search_$study"
  nas report "$study" --out "$study.html" --storage "$storage"
  python pictures.py "$study.html"
  [ "$study" != hand_digits ] || draw_for_pages
done
