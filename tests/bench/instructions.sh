#!/usr/bin/env bash
# How many instructions each operation of tests/bench/micro.rs takes, counted by callgrind:
#
#     bash tests/bench/instructions.sh [NAME...]
#
# Without names all of them; `cargo bench --bench micro -- names` lists them. Unlike times, these
# figures don't depend on what else the machine does; they do on the compiler, the C library and
# what the processor knows, since memchr and memcpy choose their code by it.
set -euo pipefail
shopt -s inherit_errexit
cd "$(dirname "$0")/../.."

# The difference of two runs, so that what both do once cancels out. The numbers have the same
# count of digits, for reading them is part of it, and the first is large enough for malloc to
# have come to rest: the torn frames' buffers come and go differently in the first rounds.
readonly FEW=40 MANY=60

if ! command -v valgrind >/dev/null; then
    echo "valgrind is missing; install it as a package (Debian: apt-get install valgrind)" >&2
    exit 1
fi

# The path of the benchmark's program, built if need be.
built_program() {
    cargo bench --locked --bench micro --no-run --message-format=json-render-diagnostics |
        sed -n '/"name":"micro"/s/.*"executable":"\([^"]*\)".*/\1/p'
}

# The instructions of the whole program for so many runs of an operation.
instructions() {
    local name=$1 count=$2
    valgrind --quiet --tool=callgrind --callgrind-out-file="$work/out" \
        "$program" once "$name" "$count" >&2
    sed -n 's/^totals: //p' "$work/out"
}

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
program=$(built_program)
if [ $# -eq 0 ]; then
    names=$("$program" names)
    mapfile -t names <<<"$names"
    set -- "${names[@]}"
fi
for name in "$@"; do
    few=$(instructions "$name" "$FEW")
    many=$(instructions "$name" "$MANY")
    printf '%-22s %10d\n' "$name" $(((many - few) / (MANY - FEW)))
done
