#!/usr/bin/env bash
# usage: with-servers.sh VENV COMMAND…   Runs COMMAND while an S3-compatible server (moto) listens on a free loopback port,
# named by NEAP_TEST_S3, and a PostgreSQL server runs, named by NEAP_TEST_POSTGRES where there is one; both end with it.
set -euo pipefail
venv=$1
shift
port=$("$venv/bin/python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
"$venv/bin/moto_server" --host 127.0.0.1 --port "$port" >/dev/null 2>&1 &
server=$!
trap 'kill "$server"' EXIT
for _ in $(seq 100); do
    (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && break
    sleep 0.1
done
export NEAP_TEST_S3="http://127.0.0.1:$port"
cargo run --locked --quiet -p neap-store --example with_postgres -- "$@"
