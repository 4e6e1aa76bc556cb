#!/usr/bin/env bash
# usage: tools/bench.sh compaction|freshness|ingest|keepup|month [OPTIONS]   (--help lists them)
# Installs what the real tests install (a broker, a catalog, an S3 server, Python packages), and with --peer connect the
# Kafka Connect Iceberg sink; then measures build/release/bin/firn by bench/NAME.py and prints.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
deps=${FIRN_DEPS:-$root/.deps}/real
name=$1
shift

fail() { printf 'bench: %s\n' "$*" >&2; exit 1; }

install_sink() {  # FOLDER: its Maven project is bench/maven/FOLDER
  local pom=$root/bench/maven/$1/pom.xml folder=$deps/$1
  cmp -s "$pom" "$folder/.stamp-pom.xml" && return 0
  printf '[bench] Java libraries of the sink: %s (the first time about a minute)\n' "$1" >&2
  rm -rf "$folder.new"
  mvn -q -B -f "$pom" dependency:copy-dependencies -DoutputDirectory="$folder.new" </dev/null >&2 ||
    fail "the Kafka Connect Iceberg sink could not be fetched by Maven ($pom): nothing was measured. Without --peer" \
      "Firn is measured alone."
  cp "$pom" "$folder.new/.stamp-pom.xml"
  rm -rf "$folder"
  mv "$folder.new" "$folder"
}

case " $* " in
  *" --help "* | *" -h "*) ;;
  *)
    "$root/tests/real/run.sh" --set-up-only --quick
    case " $* " in *" --peer "* | *" --peer="*) install_sink connect; install_sink connect-runtime ;; esac
    ;;
esac

# The REST catalog listens on all interfaces: so a network of its own, where that is allowed (as tests/real/run.sh).
namespace=()
unshare --net true 2>/dev/null && namespace=(unshare --net)
if [ ${#namespace[@]} = 0 ] && unshare --map-root-user --net true 2>/dev/null; then
  namespace=(unshare --map-root-user --net)
fi
export FIRN_REAL_DEPS=$deps PYTHONDONTWRITEBYTECODE=1
export AWS_EC2_METADATA_DISABLED=true AWS_CONFIG_FILE=/dev/null AWS_SHARED_CREDENTIALS_FILE=/dev/null
unset AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN AWS_PROFILE http_proxy https_proxy HTTP_PROXY HTTPS_PROXY
exec "${namespace[@]}" "$deps/venv/bin/python" "$root/tests/real/loopback.py" \
  "$deps/venv/bin/python" "$root/bench/$name.py" "$@"
