#!/usr/bin/env bash
# Makes the tables of this folder, in the folder in which experiments/pretrained/run.sh made its studies: about an hour on
# two cores for the training runs, one hour for the exporters, and half an hour for the rest. NAS_TEST_DATA names the folder
# of the data.
set -euo pipefail
out=$(cd "$(dirname "$0")" && pwd)
bench=$out/../../benchmarks
cd "${1:?give the folder in which experiments/pretrained/run.sh made its studies}"
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
# Networks that the searches of experiments/pretrained found, and the weights of its baseline.
cifar=$NAS_TEST_DATA/cifar10
nas export study:inherited:best --resolution 110 --data "$photos" --out product-found-hands
nas export study:cifar:best --resolution 55 --data "$cifar" --out product-found-cifar
cp nas-weights/cifar-*/baseline.safetensors lite0-cifar.safetensors
nas export lite0-cifar.safetensors --resolution 64 --data "$cifar" --out product-lite0-cifar
python "$bench/export_table.py" product-*/

for seed in 0 1 2; do
  nas train mobilenetv3-large --pretrained efficientnet-lite0 --data "$photos" --resolution 96 --epochs 3 --seed "$seed" --out "m$seed"
  nas export "m$seed" --format onnx-int8 --max-loss 1 --data "$photos" --out "plain$seed"
  nas export "m$seed" --format onnx-int8 --max-loss 1 --qat --data "$photos" --out "qat$seed"
done
python "$bench/export_agreement.py" efficientnet-lite0 product-efficientnet-lite0 --data "$photos" --files >"$out/agreement_hands.json"
python "$bench/export_agreement.py" lite0-cifar.safetensors product-lite0-cifar --data "$cifar" --splits val test >"$out/agreement_cifar.json"
time nas export efficientnet-b0 --resolution 224 --max-loss 100 --data "$photos" --out product-b0-224
python "$bench/int8_speed.py" --cpu-time --json "$out/int8_speed.json"
python "$bench/exporters.py" --cpu-time --json "$out/exporters.json"
python "$bench/exporters.py" --cpu-time --networks 2 --presets mnasnet-small mobilenetv3-small --repeats 20 --seconds 0.8 \
  --json "$out/exporters_20.json"
