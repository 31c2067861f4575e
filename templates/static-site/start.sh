#!/bin/sh
# Process 1 gets no signal that it does not handle, and BusyBox's httpd handles none: so this shell does.
httpd -f -p "${PORT:-8080}" -h /public &
server=$!
trap 'kill "$server"; exit 0' TERM INT
echo "serving /public on port ${PORT:-8080}"
wait "$server"
