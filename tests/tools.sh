#!/usr/bin/env bash
# Installs the programs that the tests use and this machine lacks: cargo-nextest, a PostgreSQL server, a C compiler, what
# makes network namespaces, languages (a JDK, Ruby, Go, a compiler for C#).
# Without root the packages are left out, and the tests that need them report themselves as skipped.
set -euo pipefail

apt_updated=
install() {
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        echo "cannot install $1 here (needs root and apt): the tests that need it will be skipped" >&2
        return
    fi
    if [ -z "$apt_updated" ]; then
        apt-get update -q >/dev/null
        apt_updated=1
    fi
    DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "$1" >/dev/null
}

command -v cargo-nextest >/dev/null || cargo install --locked --quiet cargo-nextest
command -v cc >/dev/null || install gcc
command -v ip >/dev/null || install iproute2
command -v sysctl >/dev/null || install procps
command -v javac >/dev/null || install openjdk-17-jdk-headless
if ! command -v initdb >/dev/null && ! compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null; then
    install postgresql
fi
command -v ruby >/dev/null || install ruby
command -v go >/dev/null || install golang-go
command -v mcs >/dev/null || install mono-mcs
# What merges the counts of `cargo xtask release`: of the LLVM that rustc has.
if [ "${1:-}" = release ]; then
    llvm=$(rustc -vV | sed -n 's/^LLVM version: \([0-9]*\).*/\1/p')
    [ -x "/usr/lib/llvm-$llvm/bin/llvm-profdata" ] || install "llvm-$llvm"
fi
