#!/bin/sh
# The first start makes the database, with POSTGRES_PASSWORD or one of its own. Settings of later starts change nothing.
set -eu
user=${POSTGRES_USER:-postgres}
cluster=/data/cluster
new=/data/new

if [ ! -e "$cluster/PG_VERSION" ]; then
    # A start that was killed left a part of one.
    rm -rf "$new"
    if [ -n "${POSTGRES_PASSWORD:-}" ]; then
        printf '%s\n' "$POSTGRES_PASSWORD" >/data/password
    else
        head -c 24 /dev/urandom | od -An -tx1 | tr -d ' \n' >/data/password
        echo >>/data/password
    fi
    chmod 600 /data/password
    initdb --pgdata="$new" --username="$user" --pwfile=/data/password --encoding=UTF8 --locale=C.UTF-8 \
        --auth-local=trust --auth-host=scram-sha-256
    echo "host all all all scram-sha-256" >>"$new/pg_hba.conf"
    mv "$new" "$cluster"
    echo "the password of $user is in /data/password: coracle exec POD -- cat /data/password"
fi
# A smart shutdown (SIGTERM) waits for clients for ever; a fast one (SIGINT) ends them.
postgres -D "$cluster" -c listen_addresses='*' -c port="${PORT:-5432}" -c unix_socket_directories=/tmp &
server=$!
trap 'kill -INT "$server"' TERM INT
wait "$server" || wait "$server"
