#!/usr/bin/env bash
# usage: tools/bench.sh ingest [--events N] [--runs N] [--peer] ...   (bench/ingest.py --help lists the options)
# Installs what the real tests install (a broker, a catalog, Python), builds the release, measures, prints a table.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
what=${1:-}
shift || true
case $what in
  ingest) ;;
  *) echo "usage: ./firn-dev bench ingest [options]" >&2; exit 2 ;;
esac
"$root/tests/real/run.sh" --quick --set-up-only
export FIRN_REAL_DEPS=${FIRN_DEPS:-$root/.deps}/real
exec "$FIRN_REAL_DEPS/venv/bin/python" "$root/bench/$what.py" "$@"
