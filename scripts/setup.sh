#!/bin/sh
# Installs what is missing for `make demo` (run), `make test` (run test) and `cargo bench --bench relay` (bench) on Debian
# and its kin.
# Says nothing and does nothing if everything is there.
set -eu

# The embedded speech engine loads these when it starts.
run_packages="libflite1 libpocketsphinx3 pocketsphinx-en-us"
# Opus is built from source.
build_packages="cmake"
# What the tests call: SIPp, the script that runs it, the voice of its callers, and programs to talk to, some of whose
# packages start a daemon of their own where there is systemd.
test_packages="sip-tester flite python3 openssl baresip-core kamailio sipsak chromium nodejs ffmpeg rtpengine-daemon"
# What benchmarks run beside the server. Its packages start a daemon of their own where there is systemd.
bench_packages="rtpengine-daemon"

say() {
    echo "setup: $*" >&2
}

fail() {
    say "$*"
    exit 1
}

missing_of() {
    for package in "$@"; do
        case "$(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null || true)" in
        installed) ;;
        *) printf '%s ' "$package" ;;
        esac
    done
}

install() {
    if [ "$(id -u)" -eq 0 ]; then
        as_root=""
    elif command -v sudo >/dev/null; then
        as_root="sudo"
    else
        fail "run this as root, who can: apt-get install $*"
    fi
    say "installing $*"
    # Answers every question with its default; tshark asks one. The variable goes through `env` as sudo drops it.
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get update --quiet=2 ||
        say "the package lists could not be refreshed; trying with those that are there"
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet=2 --no-install-recommends "$@" >&2 ||
        fail "apt-get could not install: $*"
}

check_rust() {
    command -v cargo >/dev/null || fail "cargo is not installed: see https://rustup.rs"
}

check_rust_components() {
    for component in rustfmt clippy; do
        if ! "cargo-${component#rust}" --version >/dev/null 2>&1; then
            command -v rustup >/dev/null || fail "the Rust component $component is not installed"
            rustup component add "$component"
        fi
    done
}

packages=""
for purpose in "$@"; do
    case "$purpose" in
    run) packages="$packages $build_packages $run_packages" ;;
    test)
        packages="$packages $build_packages $test_packages"
        check_rust_components
        ;;
    bench) packages="$packages $build_packages $bench_packages" ;;
    *) fail "usage: setup.sh [run] [test] [bench]" ;;
    esac
done

check_rust
if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
    fail "this system has no apt: install the equivalents of$packages, then run the commands of the Makefile"
fi
# shellcheck disable=SC2086 # a list of packages
missing=$(missing_of $packages)
if [ -n "$missing" ]; then
    # shellcheck disable=SC2086
    install $missing
fi
