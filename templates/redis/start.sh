#!/bin/sh
# With REDIS_PASSWORD, or a password of its own that is made at the first start.
set -eu
if [ -n "${REDIS_PASSWORD:-}" ]; then
    password=$REDIS_PASSWORD
else
    if [ ! -s /data/password ]; then
        (umask 077 && head -c 24 /dev/urandom | od -An -tx1 | tr -d ' \n' >/data/password.new)
        mv /data/password.new /data/password
        echo "the password is in /data/password: coracle exec POD -- cat /data/password"
    fi
    password=$(cat /data/password)
fi
# By standard input: arguments can be seen by others.
exec redis-server - <<END
port ${PORT:-6379}
bind * -::*
dir /data
appendonly yes
requirepass $password
END
