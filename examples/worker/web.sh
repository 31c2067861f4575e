#!/bin/sh
# Process 1 gets no signal that it does not handle, and BusyBox's httpd handles none: so this shell does.
mkdir -p /tmp/www
echo "pages from $(hostname)" >/tmp/www/index.html
httpd -f -p "$PORT" -h /tmp/www &
server=$!
trap 'kill "$server"; exit 0' TERM INT
echo "listening on port $PORT"
wait "$server"
