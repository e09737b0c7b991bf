#!/usr/bin/env bash
# The service prometheus-login. Airflow's tokens last a day: this fetches one each hour, for Prometheus to read.
set -euo pipefail

# The password goes by standard input, for everybody sees arguments. Prometheus never reads half a token.
fetch() {
    local answer
    answer=$(
        printf '{"username": "prometheus", "password": "%s"}' "$PROMETHEUS_PASSWORD" |
            curl --silent --show-error --fail --max-time 10 --header "Content-Type: application/json" --data @- \
                "$AIRFLOW_URL/auth/token"
    ) &&
        python3 -c 'import json, sys; print(json.load(sys.stdin)["access_token"], end="")' <<<"$answer" \
            >"$PROMETHEUS_TOKEN_FILE.new" &&
        mv "$PROMETHEUS_TOKEN_FILE.new" "$PROMETHEUS_TOKEN_FILE"
}

# A signal ends it at once, though it is the first process of its container.
trap 'kill "$!"; exit' TERM

while true; do
    if fetch; then pause=3600; else pause=10; fi
    sleep "$pause" &
    wait "$!"
done
