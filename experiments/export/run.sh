#!/usr/bin/env bash
# Makes the tables of this folder: about an hour on two cores for the training runs, one hour for the exporters, and a
# few minutes for the rest. NAS_TEST_DATA names the folder of the data.
set -euo pipefail
out=$(cd "$(dirname "$0")" && pwd)
bench=$out/../../benchmarks
cd "${1:-$(mktemp -d)}"
photos=$NAS_TEST_DATA/hand_digits

scratch() { nas train "$1" --data "$photos" --resolution 96 --recipe fast --epochs 40 --out "$1"; }
inherited() { nas train "$1" --data "$photos" --resolution 96 --pretrained efficientnet-lite0 --epochs "$2" --out "$1"; }
inherited efficientnet-lite0 8
inherited efficientnet-b0 15
scratch mobilenetv2
scratch mnasnet-a1
scratch mobilenetv3-large
for network in mobilenetv2 efficientnet-lite0 mnasnet-a1 mobilenetv3-large efficientnet-b0; do
  nas export "$network" --out "product-$network" --data "$photos"
done
python "$bench/export_table.py" product-*/ # The found networks of the table are exported from the studies of experiments/pretrained.
python "$bench/int8_speed.py" --cpu-time --json "$out/int8_speed.json"
python "$bench/exporters.py" --cpu-time --json "$out/exporters.json"
