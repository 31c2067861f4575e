#!/bin/sh
# What is begun is finished before the end: the platform sends SIGTERM and waits.
trap 'echo "ended after $n pieces of work"; exit 0' TERM INT
n=0
while :; do
    n=$((n + 1))
    echo "piece of work $n"
    sleep "${PAUSE:-10}" &
    wait $!
done
