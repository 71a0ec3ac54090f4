# Sourced by the scripts: say what is going on, install what is missing, build.
# shellcheck shell=bash

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
jobs=${JOBS:-$(nproc)}
missing=()

say() { printf '\n==> %s\n' "$*" >&2; }
die() { printf '\nerror: %s\n' "$*" >&2; exit 1; }

# want PACKAGE PROBE...: the Debian package PACKAGE is missing unless the command PROBE succeeds.
# Probes rather than dpkg, because what is missing may have come another way.
want() {
    local package=$1
    shift
    "$@" >/dev/null 2>&1 </dev/null || missing+=("$package")
}

has_header() { printf '#include <%s>\n' "$1" | "${CXX:-g++}" -E -x c++ -; }
has_catch() { has_header catch2/catch.hpp || has_header catch2/catch_all.hpp; }

# want_compiler CXX: Debian calls the package of g++-12 g++-12, that of clang++-14 clang-14.
want_compiler() {
    local package
    package=$(basename "$1")
    want "${package/clang++/clang}" command -v "$1"
}

want_build_tools() {
    want cmake command -v cmake
    want ninja-build command -v ninja
}

install_missing() {
    ((${#missing[@]})) || return 0
    command -v apt-get >/dev/null || die "please install these (by their Debian names): ${missing[*]}"
    local as_root=()
    if ((EUID != 0)); then
        command -v sudo >/dev/null || die "please run as root: apt-get install ${missing[*]}"
        as_root=(sudo)
    fi
    say "installing ${missing[*]}"
    # A stale list may do; if not, the installation says so.
    "${as_root[@]}" apt-get update -qq </dev/null >&2 || true
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -qq -y --no-install-recommends "${missing[@]}" </dev/null >&2 ||
        die "apt-get could not install: ${missing[*]}"
    missing=()
}

# build DIRECTORY TARGETS -D...: TARGETS is one word, several separated by spaces. Chatter goes to
# stderr, so that the output of what is run afterwards can be piped.
build() {
    local directory=$1 targets=$2
    shift 2
    say "configuring $directory"
    cmake -S "$root" -B "$directory" -G Ninja --log-level=NOTICE "$@" >&2
    say "building $directory"
    # shellcheck disable=SC2086
    cmake --build "$directory" -j "$jobs" --target $targets >&2
}
