#!/bin/sh
# Starts Valkey in its container with the users of users.acl. The passwords come from the environment, so that ps shows none.
set -eu
umask 077
users=$(mktemp)
script=
for role in ADMIN PRODUCER RELAY WORKER DASHBOARD BEAT FLOWER; do
    eval "password=\${${role}_PASSWORD:?}"
    script="$script;s/>${role}_PASSWORD/>$password/"
done
printf '%s\n' "$script" | sed -f /dev/stdin "${USERS:-/etc/carillon/users.acl}" >"$users"
# The image's entrypoint gives up root.
if [ "$(id -u)" = 0 ] && id valkey >/dev/null 2>&1; then chown valkey "$users"; fi
# The journal lives here until the last device of an event is accounted for, so nothing is evicted and every second is on disk.
# An event has 1 MiB at most. While Valkey takes a value of 200 MB it answers nobody for a second, so it refuses such values.
# It searches a small hash field by field: with its default of 512 fields opening a message costs twice as much.
exec docker-entrypoint.sh valkey-server --appendonly yes --appendfsync everysec --maxmemory "${MAXMEMORY:-1gb}" \
    --maxmemory-policy noeviction --proto-max-bulk-len 32mb --hash-max-listpack-entries 64 --aclfile "$users"
