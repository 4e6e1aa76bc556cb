#!/usr/bin/env bash
# usage: tools/bench_ingest.sh [--events N] [--runs N] [--peer] ...   (bench/ingest.py --help lists the options)
# Installs what the real tests install (a broker, a catalog, Python packages), measures build/release/bin/firn, prints.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
"$root/tests/real/run.sh" --set-up-only --quick
export FIRN_REAL_DEPS=${FIRN_DEPS:-$root/.deps}/real
exec "$FIRN_REAL_DEPS/venv/bin/python" "$root/bench/ingest.py" "$@"
