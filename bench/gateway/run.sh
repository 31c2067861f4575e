#!/usr/bin/env bash
# The gateway beside nginx as a reverse proxy, in one run: same pod, same load, one worker each, in turns.
#
#   bench/gateway/run.sh [ROUNDS] [SECONDS] [CONNECTIONS]
#
# Needs nginx, wrk and python3 (apt-get install nginx-light wrk python3), and
# cargo build --release -p coracle-gateway --example gateway
# Everything listens on loopback and lives in a temporary folder. Prints each round, then medians and the ratio.
set -euo pipefail

rounds=${1:-5}
seconds=${2:-5}
connections=${3:-50}
pod=18081 nginx=18082 gateway=18083
root=$(cd "$(dirname "$0")/../.." && pwd)
binary=${CARGO_TARGET_DIR:-$root/target}/release/examples/gateway
[[ -x $binary ]] || { echo "build it first: cargo build --release -p coracle-gateway --example gateway" >&2; exit 2; }

work=$(mktemp -d)
started=()
cleanup() {
    for pid in "${started[@]}"; do kill "$pid" 2>/dev/null || true; done
    wait 2>/dev/null || true
    rm -rf "$work"
}
trap cleanup EXIT

common="worker_processes 1; daemon off; error_log stderr crit;
events { worker_connections 4096; }"
temp="client_body_temp_path $work; proxy_temp_path $work; fastcgi_temp_path $work; uwsgi_temp_path $work; scgi_temp_path $work;
access_log off; keepalive_requests 1000000000; keepalive_timeout 75;"
cat > "$work/pod.conf" <<EOF
$common
pid $work/pod.pid;
http { $temp server { listen 127.0.0.1:$pod; location / { default_type text/plain; return 200 "$(head -c 512 /dev/zero | tr '\0' x)"; } } }
EOF
cat > "$work/nginx.conf" <<EOF
$common
pid $work/nginx.pid;
http { $temp
  upstream pod { server 127.0.0.1:$pod; keepalive 128; keepalive_requests 1000000000; }
  server { listen 127.0.0.1:$nginx; server_name app.example;
    location / { proxy_pass http://pod; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_set_header Host \$host; proxy_set_header X-Forwarded-For \$remote_addr; proxy_set_header X-Forwarded-Host \$host;
      proxy_set_header X-Forwarded-Proto \$scheme; proxy_set_header X-Request-Id \$request_id; } } }
EOF
cat > "$work/routes.json" <<EOF
{"version":1,"table":{"generation":1,"routes":{"app.example":{"project":"default","app":"app","target":{"state":"pods","pods":["127.0.0.1:$pod"]}}}}}
EOF
nginx -p "$work" -c "$work/pod.conf" & started+=($!)
pod_pid=$!
nginx -p "$work" -c "$work/nginx.conf" & started+=($!)
nginx_pid=$!
"$binary" "127.0.0.1:$gateway" "$work" 1 >/dev/null 2>&1 & started+=($!)
gateway_pid=$!
for port in $pod $nginx $gateway; do
    curl -fsS --retry 50 --retry-delay 1 --retry-connrefused -o /dev/null -H 'Host: app.example' "http://127.0.0.1:$port/"
done
rss() { awk '/VmRSS/ {print $2}' "/proc/$gateway_pid/status"; }
echo "gateway: resident $(rss) KiB before load"

# Clock ticks of user and system time that a process and its children have used.
ticks() {
    local pid total=0
    for pid in "$1" $(pgrep -P "$1" || true); do
        total=$((total + $(awk '{print $14 + $15}' "/proc/$pid/stat")))
    done
    echo "$total"
}
hertz=$(getconf CLK_TCK)

# load NAME PORT PID: a line "NAME requests/s p99 CPU-microseconds-per-request errors"
load() {
    local before after
    before=$(ticks "$3")
    wrk -t1 -c"$connections" -d"${seconds}s" --latency -H 'Host: app.example' "http://127.0.0.1:$2/" > "$work/out"
    after=$(ticks "$3")
    awk -v name="$1" -v ticks=$((after - before)) -v hertz="$hertz" '
        /requests in/ {n=$1} /Requests\/sec/ {r=$2} /99%/ {p=$2} /Socket errors|Non-2xx/ {e=e $0}
        END {printf "%s %s %s %.1f %s\n", name, r, p, ticks / hertz * 1e6 / n, (e == "" ? "0" : e)}' "$work/out" |
        tee -a "$work/results"
}
load warm-up $nginx $nginx_pid > /dev/null
load warm-up $gateway $gateway_pid > /dev/null
for ((round = 0; round < rounds; round++)); do
    load pod $pod $pod_pid
    load nginx $nginx $nginx_pid
    load gateway $gateway $gateway_pid
done
echo "gateway: resident $(rss) KiB after load"
python3 - "$work/results" <<'EOF'
import statistics, sys
rates, costs = {}, {}
for line in open(sys.argv[1]):
    name, rate, _p99, cost = line.split()[:4]
    rates.setdefault(name, []).append(float(rate))
    costs.setdefault(name, []).append(float(cost))
rate = {name: statistics.median(values) for name, values in rates.items()}
cost = {name: statistics.median(values) for name, values in costs.items()}
for name in ("pod", "nginx", "gateway"):
    print(f"{name}: median {rate[name]:.0f} requests/s, {cost[name]:.1f} CPU microseconds per request")
print(f"gateway / nginx: {rate['gateway'] / rate['nginx']:.2f} in requests/s, "
      f"{cost['gateway'] / cost['nginx']:.2f} in CPU per request")
EOF
