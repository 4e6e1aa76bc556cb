#!/usr/bin/env bash
# Installs a build into one folder, moves it to another, and runs it there with an empty environment.
# usage: install_test.sh BUILD_FOLDER
set -euo pipefail
build=$1
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

fail() { echo "install_test: $*" >&2; exit 1; }

cmake --install "$build" --prefix "$scratch/first" --component firn >"$scratch/install.log" 2>&1 ||
  { cat "$scratch/install.log" >&2; fail "cmake --install failed"; }
mv "$scratch/first" "$scratch/moved away"
tree="$scratch/moved away"

env -i "$tree/bin/firn" version | grep -q '^firn [0-9]' || fail "firn version does not run in the moved tree"
env -i "$tree/bin/firn" config >"$scratch/reference" || fail "firn config does not run in the moved tree"
grep -q '^commit.interval$' "$scratch/reference" || fail "firn config does not print the reference"

for file in share/doc/firn/LICENSE share/doc/firn/NOTICE share/doc/firn/docs/configuration.md share/man/man1/firn.1 \
  share/bash-completion/completions/firn share/zsh/site-functions/_firn share/fish/vendor_completions.d/firn.fish; do
  [ -s "$tree/$file" ] || fail "missing or empty: $file"
done
bash -n "$tree/share/bash-completion/completions/firn" || fail "the bash completion is no bash"

# Every library comes out of the tree, or is one that each system has.
base='^(linux-vdso|ld-linux|libc|libm|libdl|libpthread|librt|libresolv|libgcc_s)\b|^libstdc[+][+][.]so'
env -i /usr/bin/ldd "$tree/bin/firn" >"$scratch/ldd"
while read -r name rest; do
  case $(basename "$name") in *.so*) ;; *) continue ;; esac
  if [[ $(basename "$name") =~ $base ]]; then continue; fi
  case $rest in *"$scratch"*) ;; *) fail "not carried along: $name $rest" ;; esac
done <"$scratch/ldd"

echo "install_test: $(grep -c "$scratch" "$scratch/ldd") libraries carried, $(du -sh "$tree" | cut -f1)"
