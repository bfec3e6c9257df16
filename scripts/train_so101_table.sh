#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Train checkpoints/so101_table from nothing: data of the scripted experts, four runs, and between them
# three rounds of corrections of the policy's own mistakes (DAgger).
#   scripts/train_so101_table.sh DIRECTORY [DATA_SEED [TRAINING_SEED]]    (default: 0 and 42)
# Call it again after an interruption: it goes on where it stopped. The policy is DIRECTORY/4/best.
set -euo pipefail

directory=$(realpath -m "${1:?usage: scripts/train_so101_table.sh DIRECTORY [DATA_SEED [TRAINING_SEED]]}")
seed=${2:-0}
training_seed=${3:-42}
data=()

# collect NAME TASK EPISODES SEED [OPTION ...]: add a data set to those of all later runs.
collect() {
    local out=$directory/$1 task=$2 episodes=$3 own=$((seed + $4))
    data+=("$out")
    if [ ! -e "$out" ]; then
        # It fails if it cannot record single episodes, but writes the others.
        groot-ros sim collect --task "$task" --episodes "$episodes" --seed "$own" --out "$out" \
            "${@:5}" || test -e "$out"
    fi
}

# is_done RUN STEPS
is_done() { grep -qs "\"step\": $2," "$1/state/progress.json"; }

# run NAME BEFORE STEPS LEARNING_RATE [OPTION ...]: train on all data so far, from random weights or from the
# best checkpoint of the run BEFORE.
run() {
    local out=$directory/$1 options=()
    if is_done "$out" "$3"; then return; fi
    if [ "$2" != random ]; then
        options=(--checkpoint "$directory/$2/best" --statistics keep --warmup 0.05)
    fi
    if [ -e "$out/state" ]; then options+=(--resume); fi
    groot-ros train --recipe config/training/small.yaml --data "${data[@]}" --out "$out" \
        --frame-cache "$directory/frames" --steps "$3" --learning-rate "$4" --seed "$training_seed" \
        --threads 2 "${options[@]}" "${@:5}"
    if ! is_done "$out" "$3"; then
        echo "interrupted: call this script again" >&2
        exit 1
    fi
}

cd "$(dirname "$0")/.."
collect reach reach 300 0
collect push push 350 1
collect push2 push 350 5
collect pick_place pick_place 450 2
run 1 random 5500 1e-3

first=(--checkpoint "$directory/1/best")
collect reach_1 reach 60 10 "${first[@]}"
collect push_1 push 160 11 "${first[@]}"
collect pick_place_1 pick_place 220 12 "${first[@]}"
run 2 1 2500 8e-4 --max-delay 4

second=(--checkpoint "$directory/2/best")
collect reach_2 reach 60 20 "${second[@]}"
collect push_2 push 160 21 "${second[@]}"
collect pick_place_2 pick_place 220 22 "${second[@]}"
run 3 2 3500 8e-4

# Also from the mistakes with an inference that takes 200 ms.
third=(--checkpoint "$directory/3/best")
late=("${third[@]}" --delay 0.2 --rtc-mode native)
collect reach_3 reach 60 30 "${third[@]}"
collect push_3 push 160 31 "${third[@]}"
collect pick_place_3 pick_place 160 32 "${third[@]}"
collect push_3_late push 100 33 "${late[@]}"
collect pick_place_3_late pick_place 160 34 "${late[@]}"
run 4 3 4500 8e-4 --timestep-sampling inference
