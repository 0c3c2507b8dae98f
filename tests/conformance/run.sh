#!/usr/bin/env bash
# The WebSocket cases of the Autobahn test suite against `echo.rs`, which is the server's own
# handshake and reader of frames. Fails and names each case whose verdict is a failure.
#
# The suite itself (PyPI: autobahntestsuite) runs on Python 2.7 alone. Kosoku is another runner
# for its case files, on Python 3.10 or newer, and is what runs here; with PYTHON2=python2.7 the
# original runs instead. What either needs is installed below target/conformance.
set -euo pipefail
cd "$(dirname "$0")/../.."

kosoku_version=0.1.0
autobahn_version=0.8.2

# Cases that don't apply, and why.
excluded=(
    '12.*' # permessage-deflate: compression is never negotiated
    '13.*' # permessage-deflate with its parameters
)
# All others that these versions have.
cases=301

work=$PWD/target/conformance
kosoku=$work/kosoku-$kosoku_version
autobahn=$work/autobahntestsuite-$autobahn_version
report=$work/report
mkdir -p "$work"
rm -rf "$report"

install_kosoku() {
    [ -x "$kosoku/bin/kosoku" ] && return
    rm -rf "$kosoku"
    python3 -m venv "$kosoku"
    "$kosoku/bin/pip" install --quiet --disable-pip-version-check "kosoku==$kosoku_version"
}

run_kosoku() {
    local options=()
    for glob in "${excluded[@]}"; do options+=(--exclude "$glob"); done
    "$kosoku/bin/kosoku" "${options[@]}" --outdir "$report" "$1"
}

install_autobahn() {
    [ -e "$autobahn/autobahntestsuite" ] && return
    rm -rf "$autobahn"
    "$PYTHON2" -W ignore -m pip install --quiet --disable-pip-version-check \
        --target "$autobahn" "autobahntestsuite==$autobahn_version"
}

run_autobahn() {
    local globs
    globs=$(printf '"%s",' "${excluded[@]}")
    cat >"$work/spec.json" <<SPEC
{"outdir": "$report", "servers": [{"agent": "palabre", "url": "ws://$1"}],
 "cases": ["*"], "exclude-cases": [${globs%,}], "exclude-agent-cases": {}}
SPEC
    "$PYTHON2" -W ignore -c "import site, sys; site.addsitedir('$autobahn')
from autobahntestsuite.wstest import run
sys.argv[0] = 'wstest'
run()" --mode fuzzingclient --spec "$work/spec.json"
}

suite=${PYTHON2:+autobahn}
suite=${suite:-kosoku}
"install_$suite"
cargo build --quiet --locked --example echo

coproc target/debug/examples/echo
trap 'kill "$COPROC_PID" 2>/dev/null || true' EXIT
read -r address <&"${COPROC[0]}"

# Its verdicts are judged below, not its exit code.
"run_$suite" "$address" >"$work/output" 2>&1 || true
[ -e "$report/index.json" ] || { tail -40 "$work/output"; exit 1; }

python3 - "$report/index.json" "$cases" <<'JUDGE'
import json, sys
from collections import Counter

with open(sys.argv[1]) as index:
    (verdicts,) = json.load(index).values()
passing = {"OK", "NON-STRICT", "INFORMATIONAL"}
failed = 0
for case, verdict in verdicts.items():
    both = verdict["behavior"], verdict["behaviorClose"]
    if both == ("OK", "OK"):
        continue
    passed = all(word in passing for word in both)
    failed += not passed
    print(f"{'' if passed else 'FAILED '}{case}: {both[0]}, its close {both[1]}")
if len(verdicts) != int(sys.argv[2]):
    sys.exit(f"{len(verdicts)} cases were run, not {sys.argv[2]}")
counts = Counter(verdict["behavior"] for verdict in verdicts.values())
print(f"{len(verdicts)} cases: " + ", ".join(f"{n} {word}" for word, n in counts.items()))
sys.exit(f"{failed} failed" if failed else 0)
JUDGE
