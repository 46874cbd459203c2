# These commands make the studies. Run them in a folder that holds nothing but accuracies.csv, older.py and this file.
set -eu
DIGITS="--data digits --epochs 1 --proxy-resolution 16 --images 256"

# Wait until a study has so many trials in a state.
wait_for() {
    until [ "$(python3 -c 'import sqlite3, sys
study, state = sys.argv[1:]
query = "select count(*) from trials join studies using (study_id) where study_name = ? and state = ?"
print(sqlite3.connect("nas.db").execute(query, (study, state)).fetchone()[0])' "$1" "$2" 2>/dev/null || echo 0)" -ge "$3" ]; do
        sleep 0.02
    done
}

nas search --space nasbench_macro --target flops=60M --band 0.5 --trials 12 \
    --evaluator table:accuracies.csv --study finished

OLDER_SECONDS=2 nas search --space nasbench_macro --target flops=60M --band 0.5 --trials 12 \
    --evaluator python:older:accuracy --study killed &
wait_for killed COMPLETE 5
wait_for killed RUNNING 1
sleep 0.5
kill -KILL $!
wait $! || true

nas search --space nasbench_macro --target flops=90M --objective pareto --trials 12 \
    --evaluator table:accuracies.csv --study front

nas search --target flops=100M --trials 4 --confirm 1 $DIGITS --study trained

nas scale mnasnet-small --fit --step 0.4 --tolerance 0.3 --seeds 2 --repeat 2 $DIGITS --study fitted &
wait_for fitted COMPLETE 3
wait_for fitted RUNNING 1
kill -KILL $!
wait $! || true

nas scale mnasnet-small --compare --budget flops=120M --rule depth --rule width --seeds 2 $DIGITS --study compared

nas check --space nasbench_macro --networks 5 --seeds 2 --evaluator train $DIGITS --study checked

python3 -c 'import sqlite3; sqlite3.connect("nas.db").execute("vacuum into \"studies.sqlite\"")'
mv nas-trials journals
rm -r nas.db __pycache__
