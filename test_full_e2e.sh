#!/bin/sh
# The cluster, end to end, three times from nothing, and the 100,000 orders through one connection. Options go to `zerosum e2e`.
set -eu
cd "$(dirname "$0")"
make -s setup >&2
golden="${ZEROSUM_SHARED:-../shared}/golden/100k"
if [ -d "$golden" ]; then
    set -- --orders "$golden/orders.csv.gz" --balances "$golden/balances_init.csv.gz" --trades "$golden/expected_trades.csv.gz" "$@"
fi
exec .venv/bin/zerosum e2e --cluster --runs 3 --report build/e2e-cluster.md "$@"
