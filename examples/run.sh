#!/usr/bin/env bash
# run.sh NAME [FLAG...] runs an example with a gateway and the demo backend until Ctrl-C. The flags are the
# example's own. Environment: ENVOY; BIN, the directory to build into; PORT, BACKEND_PORT and PROCESSOR_PORT
# in place of those of the manifests; GATEHOUSE_ARGS for `gatehouse run`.
set -euo pipefail
cd "$(dirname "$0")/.."
name=${1:?which example? One of: $(cd examples && ls -d */policy.yaml | xargs dirname | xargs)}
shift
policy=examples/$name/policy.yaml
processor=$(awk '/port: 90[1-9][0-9]/ {gsub(/[^0-9]/, "", $NF); print $NF}' "$policy")
export ENVOY="${ENVOY:-$(scripts/envoy.py)}"
bin=${BIN:-bin}
scripts/build.sh "$bin/" ./cmd/gatehouse
scripts/build.sh "$bin/examples/" ./examples/backend "./examples/$name"
temp=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$temp"' EXIT
trap exit INT TERM
cat examples/gateway.yaml <(echo ---) "$policy" | sed "s/port: 8080/port: ${PORT:-8080}/; s/port: 9001/port: ${BACKEND_PORT:-9001}/; s/port: $processor/port: ${PROCESSOR_PORT:=$processor}/" >"$temp/config.yaml"
"$bin/examples/backend" --listen "127.0.0.1:${BACKEND_PORT:-9001}" &
"$bin/examples/$name" --listen "127.0.0.1:$PROCESSOR_PORT" "$@" &
sed -n '1,/^apiVersion/ s/^# \{0,1\}//p' "$policy" | sed "s/8080/${PORT:-8080}/"
# shellcheck disable=SC2086 # several arguments
"$bin/gatehouse" run -f "$temp/config.yaml" --state "$temp/state" ${GATEHOUSE_ARGS:-} &
wait -n
