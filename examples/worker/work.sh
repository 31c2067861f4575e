#!/bin/sh
# Counts: what `coracle logs` shows of a process that nobody sends requests to.
trap 'echo "done after $n"; exit 0' TERM INT
n=0
while :; do
    n=$((n + 1))
    echo "piece of work $n"
    sleep 5 &
    wait $!
done
