#!/usr/bin/env bash
# Installs what Debian has (apt) and puts the three libraries that it lacks, pinned by version and checksum, into
# .deps/prefix: Arrow and Parquet (the pyarrow wheel), librdkafka and simdjson (built from the sources that other
# packages carry). Does nothing when all is there. FIRN_SETUP_APT=0 leaves the system packages alone.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
deps=${FIRN_DEPS:-$root/.deps}
prefix=$deps/prefix
version=arrow-26.0.0+librdkafka-2.15.1+simdjson-fastsimdjson-0.8.0+r1

say() { printf '\033[1m[setup]\033[0m %s\n' "$*"; }

apt_packages="build-essential cmake ninja-build pkg-config ca-certificates python3 python3-venv python3-pip curl unzip
  libcurl4-openssl-dev libsqlite3-dev libyaml-cpp-dev libcli11-dev libfmt-dev libspdlog-dev prometheus-cpp-dev
  libcpp-httplib-dev nlohmann-json3-dev libbenchmark-dev libgtest-dev libgmock-dev mold ccache libzstd-dev liblz4-dev
  libssl-dev libsasl2-dev libre2-dev zlib1g-dev"

missing_packages() {
  local package
  for package in $apt_packages "$@"; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || printf '%s ' "$package"
  done
}

apt_install() {
  local missing
  missing=$(missing_packages "$@")
  [ -z "$missing" ] && return 0
  if [ "${FIRN_SETUP_APT:-1}" = 0 ]; then
    echo "missing system packages: $missing" >&2
    exit 1
  fi
  say "installing system packages: $missing"
  local sudo=""
  [ "$(id -u)" = 0 ] || sudo=sudo
  $sudo apt-get update -qq
  # shellcheck disable=SC2086
  DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends $missing >/dev/null
}

check_sum() {  # FILE SHA256
  echo "$2  $1" | sha256sum --check --status || { echo "checksum of $1 is not $2: refusing it" >&2; exit 1; }
}

if [ "$(cat "$prefix/stamp" 2>/dev/null || true)" = "$version" ] && [ -z "$(missing_packages)" ]; then
  exit 0
fi

say "first set-up: about 2 minutes for libraries, then the build (see ./firn-dev help)"
apt_install
command -v npm >/dev/null || apt_install npm

work=$deps/work
rm -rf "$work" "$prefix"
mkdir -p "$work" "$prefix"/{lib,include,src,licenses}
cd "$work"

say "Arrow and Parquet 26.0.0 (from the pyarrow wheel)"
python3 -m venv venv
venv/bin/pip -q download --no-deps --only-binary=:all: --python-version 3.11 --implementation cp --abi cp311 \
  --platform manylinux_2_28_x86_64 pyarrow==26.0.0
check_sum pyarrow-26.0.0-*.whl 6e89dee53aaeb50505ed6152ea55bc7ddfd4f4df264f5427ea255288d8f0e580
unzip -q pyarrow-26.0.0-*.whl
cp -r pyarrow/include/* "$prefix/include/"
cp -P pyarrow/libarrow.so.* pyarrow/libarrow_compute.so.* pyarrow/libarrow_s3.so.* pyarrow/libparquet.so.* "$prefix/lib/"
cp pyarrow-*.dist-info/licenses/*.txt "$prefix/licenses/" 2>/dev/null || true

say "simdjson (from the source package fastsimdjson 0.8.0)"
venv/bin/pip -q download --no-deps --no-binary :all: fastsimdjson==0.8.0
check_sum fastsimdjson-0.8.0.tar.gz df415e19cec497fc495ead9ee82b9527ff0335dde2fa54eeb6f6a7a60a7b11f6
tar xzf fastsimdjson-0.8.0.tar.gz
cp fastsimdjson-0.8.0/vendor/simdjson.h "$prefix/include/"
cp fastsimdjson-0.8.0/vendor/simdjson.cpp "$prefix/src/"

say "librdkafka 2.15.1 (from the source inside the package @confluentinc/kafka-javascript 1.10.1)"
npm pack --silent @confluentinc/kafka-javascript@1.10.1 >/dev/null
check_sum confluentinc-kafka-javascript-1.10.1.tgz ada7d703bb1d3237e2292bfabf438d663b6160c9f1ac2a2406b5dc4257c81b66
tar xzf confluentinc-kafka-javascript-1.10.1.tgz package/deps/librdkafka
(cd package/deps/librdkafka && ./configure --prefix="$prefix" --CFLAGS="-fPIC -O2" --enable-lz4-ext --disable-regex-ext \
  --enable-static && make -C src -j"$(nproc)" librdkafka.a) >rdkafka.log 2>&1 || { tail -20 rdkafka.log; exit 1; }
mkdir -p "$prefix/include/librdkafka"
cp package/deps/librdkafka/src/librdkafka.a "$prefix/lib/"
cp package/deps/librdkafka/src/{rdkafka.h,rdkafka_mock.h} "$prefix/include/librdkafka/"
cp package/deps/librdkafka/LICENSE "$prefix/licenses/librdkafka.LICENSE"

cd "$deps"
rm -rf "$work"
echo "$version" > "$prefix/stamp"
say "dependencies are ready"
