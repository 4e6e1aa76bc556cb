#!/usr/bin/env bash
# The end-to-end tests with real parts. usage: tests/real/run.sh [--quick] [pytest's arguments]
#   --quick          leave out what takes long, and Spark
#   --set-up-only    install, test nothing
#   -k WORD, FILE…   as pytest takes them: tests/real/run.sh -k sigkill
#   --torture […]    the torture instead of the tests; torture.py --help lists its options
# Installs what it needs (system packages with apt, Python packages into .deps/real/venv, Java libraries into
# .deps/real), only what is missing. FIRN_BIN is the program under test (build/release/bin/firn unless set);
# FIRN_SETUP_APT=0 leaves the system packages alone. README.md beside this file says what runs.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
deps=${FIRN_DEPS:-$root/.deps}/real
binary=${FIRN_BIN:-$root/build/release/bin/firn}
started=$SECONDS

say() { printf '\033[1m[real]\033[0m %s\n' "$*" >&2; }

quick=0
set_up_only=0
torture=0
arguments=()
if [ "${1:-}" = --torture ]; then
  shift
  quick=1 torture=1 arguments=("$@")
  set --
fi
for argument in "$@"; do
  case $argument in
    --quick) quick=1 ;;
    --set-up-only) set_up_only=1 ;;
    *) arguments+=("$argument") ;;
  esac
done

apt_install() {
  local missing=() package
  command -v java >/dev/null || missing+=(default-jre-headless)
  command -v mvn >/dev/null || missing+=(maven)
  command -v openssl >/dev/null || missing+=(openssl)
  for package in python3-venv ca-certificates util-linux; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing+=("$package")
  done
  [ ${#missing[@]} = 0 ] && return 0
  if [ "${FIRN_SETUP_APT:-1}" = 0 ]; then
    echo "missing system packages: ${missing[*]}" >&2
    exit 1
  fi
  say "installing system packages: ${missing[*]}"
  local sudo=""
  [ "$(id -u)" = 0 ] || sudo=sudo
  $sudo apt-get update -qq
  DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

# Does the rest only when the file that describes it has changed since: stamped FOLDER FILE COMMAND...
stamped() {
  local stamp=$1/.stamp-$(basename "$2") file=$2
  shift 2
  cmp -s "$file" "$stamp" && return 0
  "$@"
  cp "$file" "$stamp"
}

install_python() {
  say "Python packages of $(basename "$1") (the first time about a minute)"
  "$deps/venv/bin/pip" install -q --disable-pip-version-check -r "$1"
}

install_java() {  # FOLDER POM
  say "Java libraries: $(basename "$1") (the first time about a minute)"
  mvn -q -B -f "$2" dependency:copy-dependencies -DoutputDirectory="$1.new" </dev/null
  rm -rf "$1"
  mv "$1.new" "$1"
}

apt_install
# One set-up at a time; whoever comes second finds everything there.
mkdir -p "$deps"
exec 9>"$deps/.lock"
flock 9
mkdir -p "$deps"/kafka "$deps"/rest-fixture "$deps"/nessie "$deps"/spark-runtime
[ -x "$deps/venv/bin/python" ] || python3 -m venv "$deps/venv"
stamped "$deps/venv" "$here/requirements.txt" install_python "$here/requirements.txt"
stamped "$deps/kafka" "$here/maven/kafka/pom.xml" install_java "$deps/kafka" "$here/maven/kafka/pom.xml"
stamped "$deps/rest-fixture" "$here/maven/rest-fixture/pom.xml" \
  install_java "$deps/rest-fixture" "$here/maven/rest-fixture/pom.xml"
stamped "$deps/nessie" "$here/maven/nessie/pom.xml" install_java "$deps/nessie" "$here/maven/nessie/pom.xml"
if [ $quick = 0 ]; then
  stamped "$deps/venv" "$here/requirements-spark.txt" install_python "$here/requirements-spark.txt"
  stamped "$deps/spark-runtime" "$here/maven/spark-runtime/pom.xml" \
    install_java "$deps/spark-runtime" "$here/maven/spark-runtime/pom.xml"
fi
exec 9>&-
say "set up after $((SECONDS - started)) s"
[ $set_up_only = 0 ] || exit 0

if [ ! -x "$binary" ]; then
  echo "the program under test is missing; build it with ./firn-dev build release, or set FIRN_BIN: $binary" >&2
  exit 1
fi

# A network and mount namespace of the tests' own, where that is allowed: one of the servers listens on all interfaces,
# and one test mounts a small disk.
namespace=()
unshare --net --mount true 2>/dev/null && namespace=(unshare --net --mount)
if [ ${#namespace[@]} = 0 ] && unshare --map-root-user --net --mount true 2>/dev/null; then
  namespace=(unshare --map-root-user --net --mount)
fi
[ ${#namespace[@]} = 0 ] && say "no namespaces here: the REST fixture will listen on all interfaces while the tests run"

export FIRN_BIN=$binary FIRN_REAL_DEPS=$deps FIRN_REAL_QUICK=$quick PYTHONDONTWRITEBYTECODE=1
# No credentials or settings of this machine's user may reach the programs.
export AWS_EC2_METADATA_DISABLED=true AWS_CONFIG_FILE=/dev/null AWS_SHARED_CREDENTIALS_FILE=/dev/null
unset AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN AWS_PROFILE http_proxy https_proxy HTTP_PROXY HTTPS_PROXY
say "testing $binary"
program=(-m pytest -c "$here/pytest.ini" --rootdir "$here")
if [ $torture = 1 ]; then
  program=("$here/torture.py")  # in the caller's folder: it may name a file for the report
else
  cd "$here"
fi
status=0
"${namespace[@]}" "$deps/venv/bin/python" "$here/loopback.py" \
  "$deps/venv/bin/python" "${program[@]}" "${arguments[@]}" || status=$?
say "done after $((SECONDS - started)) s"
exit $status
