#!/bin/sh
# A user on Kafka (SCRAM-SHA-512), or a new password for one: user.sh NAME < file with the password.
# The password is never on a command line. BOOTSTRAP and ADMIN as for acls.sh; KAFKA_CONFIGS: Kafka's tool,
# kafka-configs.sh on the PATH by default. REMOVE=1 deletes the user.
set -eu
[ "$#" = 1 ] || { sed -n '2,4s/^# //p' "$0" >&2; exit 2; }
: "${BOOTSTRAP:?say which broker: BOOTSTRAP=host:port}"
name=$1
set -- --bootstrap-server "$BOOTSTRAP" --alter --entity-type users --entity-name "$name"
[ -z "${ADMIN:-}" ] || set -- --command-config "$ADMIN" "$@"
if [ "${REMOVE:-}" = 1 ]; then
    "${KAFKA_CONFIGS:-kafka-configs.sh}" "$@" --delete-config SCRAM-SHA-512 >/dev/null
    echo "User:$name is deleted"
    exit 0
fi
IFS= read -r password || [ -n "$password" ]
case $password in *[]\[,=[:space:]]* | '')
    echo 'a password of letters, digits and - _ . is needed, on standard input: openssl rand -hex 24' >&2
    exit 2
    ;;
esac
umask 077
settings=$(mktemp)
trap 'rm -f "$settings"' EXIT
printf 'SCRAM-SHA-512=iterations=8192,password=%s\n' "$password" >"$settings"
"${KAFKA_CONFIGS:-kafka-configs.sh}" "$@" --add-config-file "$settings" >/dev/null
echo "User:$name may log in"
