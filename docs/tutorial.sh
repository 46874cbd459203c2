#!/usr/bin/env bash
# Run all commands of tutorial.md in order, and print them with what they print: `docs/tutorial.sh PHOTOS [FOLDER]`.
# PHOTOS has one subfolder for each class. FOLDER, by default a new one, receives all files; in the same FOLDER, the
# same command continues. The sed script in SHORTER is applied to the commands, which makes them smaller for a test.
set -euo pipefail
page=$(dirname "$(realpath "$0")")/tutorial.md
photos=$(realpath "$1")
folder=${2:-$(mktemp -d)}
mkdir -p "$folder"
cd "$folder"
[ -e photos ] || ln -s "$photos" photos

# Print the lines of ```console blocks that begin with "$ ", and the lines that continue them.
commands() {
  awk '/^```/ {inside = ($0 == "```console"); next}
       inside && (continues || /^\$ /) {sub(/^\$ /, ""); print; continues = /\\$/}' "$page"
}
{
  echo "PS4='$ '; set -ex" # in the file, because bash takes no PS4 from the environment of root
  commands | sed "${SHORTER:-}"
} >commands.sh
bash commands.sh 2>&1
