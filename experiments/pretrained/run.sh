#!/usr/bin/env bash
# Makes the tables of this folder that come from searches and checks; the other pages name their own commands. It takes
# about two hours on two cores. NAS_TEST_DATA names the folder of the data. Half the latency of EfficientNet-Lite0 is
# 2.375 ms on the machine that made the tables: `nas latency measure efficientnet-lite0 --classes 10 --device cpu`.
set -euo pipefail
out=$(cd "$(dirname "$0")" && pwd)
cd "${1:-$(mktemp -d)}"
photos=$NAS_TEST_DATA/hand_digits

nas check --target flops=200M --data "$NAS_TEST_DATA/cifar10_small/train.parquet" --images 3000 --proxy-resolution 64 \
  --pretrained efficientnet-lite0 --networks 20 --seeds 1 --time-limit 100 --threads 1 --workers 2 \
  --evaluator finetune:epochs=1 --evaluator train:epochs=1 --evaluator supernet --evaluator zero-cost:combined \
  --truth finetune:epochs=8 --png "$out/ranking.png" --json >"$out/ranking.json"
half=(--target latency=2.375ms --device cpu --trials 200 --threads 1 --confirm 2)
inherited=(--pretrained efficientnet-lite0 --proxy-resolution 128)
scratch=(--space around:efficientnet-lite0 --proxy-resolution 64 --epochs 10)
nas search --study inherited --data "$photos" --timeout 22m "${half[@]}" "${inherited[@]}" --json >"$out/inherited.json"
nas search --study scratch --data "$photos" --timeout 22m "${half[@]}" "${scratch[@]}" --json >"$out/scratch.json"
few=$(mktemp -d) # the first 30 photographs of each class
for class in "$photos"/*/; do
  mkdir "$few/$(basename "$class")"
  find "$class" -type f | sort | head -30 | xargs -I{} ln -s {} "$few/$(basename "$class")"
done
nas search --study inherited_300 --data "$few" --timeout 11m "${half[@]}" "${inherited[@]}" --json >"$out/inherited_300.json"
nas search --study scratch_300 --data "$few" --timeout 11m "${half[@]}" "${scratch[@]}" --json >"$out/scratch_300.json"
python "$out/../../benchmarks/splits.py" --data "$photos" --resolution 128 --inherited study:inherited:best \
  --scratch study:scratch:best --out "$out/splits.jsonl"
python "$out/../../benchmarks/splits.py" --data "$photos" --resolution 128 --train 300 --epochs 6 \
  --inherited study:inherited_300:best --scratch study:scratch_300:best --out "$out/splits.jsonl"
nas search --study cifar --data "$NAS_TEST_DATA/cifar10_small" --images 3000 --pretrained efficientnet-lite0 \
  --proxy-resolution 64 --timeout 6m "${half[@]}" --workers 2 --json >"$out/cifar.json"
