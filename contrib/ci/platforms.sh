#!/usr/bin/env bash
# Checks that clm compiles for macOS, and that for Windows the only error is the one that says so. Each is skipped where Rust
# has no standard library for the target: `rustup target add aarch64-apple-darwin x86_64-pc-windows-gnu` installs both.
set -euo pipefail
cd "$(dirname "$0")/../.."

has() {
  local libraries
  libraries=$(rustc --print target-libdir --target "$1")
  if compgen -G "$libraries/libstd-*.rlib" > /dev/null; then
    return 0
  fi
  echo "skipped: Rust has no standard library for $1 (\`rustup target add $1\`)"
  return 1
}

mac=aarch64-apple-darwin
if has $mac; then
  # Nothing is linked, so that what compiles C need not compile.
  CC_aarch64_apple_darwin=true AR_aarch64_apple_darwin=true \
    cargo clippy --quiet --locked --target $mac --bin clm -- -D warnings
  echo "$mac compiles"
fi

windows=x86_64-pc-windows-gnu
if has $windows; then
  # The library is empty there, and `main.rs` has nothing but the message.
  scratch=$(mktemp -d)
  trap 'rm -rf "$scratch"' EXIT
  if rustc --edition 2024 --target $windows --emit metadata --out-dir "$scratch" src/main.rs 2> "$scratch/said"; then
    echo "clm compiles for $windows, which contrib/doc/platforms.md does not say"
    exit 1
  fi
  if [ "$(grep -c '^error: clm runs on Linux and macOS' "$scratch/said")" != 1 ] \
    || [ "$(grep -c '^error' "$scratch/said")" != 2 ]; then
    cat "$scratch/said"
    exit 1
  fi
  echo "$windows says what to do"
fi
