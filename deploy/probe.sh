#!/bin/bash
# Asks an HTTP address of this container: probe.sh PORT PATH ends with 0 if it answers 200. It starts no other program.
exec 3<>"/dev/tcp/127.0.0.1/${1:?the port}" || exit 1
printf 'GET %s HTTP/1.1\r\nHost: 127.0.0.1:%s\r\nConnection: close\r\n\r\n' "${2:?the path}" "$1" >&3
read -r -t 10 _ status _ <&3
[ "$status" = 200 ]
