#!/bin/sh
# deploy/.env for deploy/compose.yaml: prepare.sh [FILE]. What is there stays; what is missing is made up.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
file=${1:-$here/../.env}
umask 077
touch "$file"
chmod 600 "$file"

secret() {
    case $1 in
    KAFKA_CLUSTER_ID) openssl rand 16 | base64 | tr '+/' '-_' | tr -d '=\n' | sed 's/^-/A/' ;;
    S3_KEY_OF_KEYS) openssl rand -hex 32 ;;
    S3_ACCESS) printf 'linli%s' "$(openssl rand -hex 6)" ;;
    *) openssl rand -hex 24 ;;
    esac
}

while IFS= read -r line; do
    name=${line%%=*}
    case $line in '#'* | '') continue ;; esac
    if grep -q "^$name=" "$file"; then continue; fi
    value=${line#*=}
    [ -n "$value" ] || value=$(secret "$name")
    printf '%s=%s\n' "$name" "$value" >>"$file"
    echo "$name is new" >&2
done <"$here/../compose.env.example"
