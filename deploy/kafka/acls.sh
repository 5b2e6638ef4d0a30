#!/bin/sh
# Who may do what on Kafka: one role for one user, given or shown again as often as wanted.
#
#   acls.sh ROLE USER PREFIX [FAMILY ... | ALIAS]
#
#   topics         makes and changes the topics of PREFIX (linli topics apply)
#   box            an edge box: writes its events; reads nothing but its share and the claims of PREFIX
#   centre         the command centre (linli serve): reads PREFIX and every jurisdiction below it, writes the dead letters
#   dead-letters   reads the dead letters of PREFIX and sends them again to the topics they are from (linli dlq retry)
#   subscriber     reads the families named (without any: count alert view sensor health), writes nothing
#   mirror-source  MirrorMaker on the cluster that it reads: the families of PREFIX
#   mirror-target  MirrorMaker on the cluster that it writes: makes and writes those topics, and its own, which are
#                  called after ALIAS, the name of the cluster that it reads in mirror.properties
#
# PREFIX is `prefix` of the site file's [bus]: tengzhou.beixin.linli. Every box has a user of its own, so that one
# can be shut out. From the environment:
#   BOOTSTRAP   a broker, host:port
#   ADMIN       a file of client settings of somebody who may change ACLs (--command-config); may be absent
#   KAFKA_ACLS  Kafka's tool; kafka-acls.sh on the PATH by default
#   REMOVE=1    takes the role away
set -eu

usage() {
    sed -n '2,/^set -eu/s/^# \{0,1\}//p' "$0" >&2
    exit 2
}

[ "$#" -ge 3 ] || usage
: "${BOOTSTRAP:?say which broker: BOOTSTRAP=host:port}"
role=$1 user=$2 prefix=$3
shift 3
case $prefix in *[!a-z0-9.-]* | .* | *. | '') echo "PREFIX is like tengzhou.beixin.linli: $prefix" >&2; exit 2 ;; esac
families="count alert view face sensor judgement health segment access claim case place register desk"
verb=--add
[ "${REMOVE:-}" != 1 ] || verb=--remove

# One call of Kafka's tool: ADMIN's settings, and no question whether it is meant.
acl() {
    set -- "$verb" --allow-principal "User:$user" "$@"
    [ "$verb" = --add ] || set -- "$@" --force
    [ -z "${ADMIN:-}" ] || set -- --command-config "$ADMIN" "$@"
    "${KAFKA_ACLS:-kafka-acls.sh}" --bootstrap-server "$BOOTSTRAP" "$@" >/dev/null
}

# Options that name the topics of these families.
named() {
    for family in "$@"; do printf -- ' --topic %s.%s' "$prefix" "$family"; done
}

# What begins with this is PREFIX's jurisdiction and all below it: tengzhou.linli -> tengzhou.
case $prefix in *.*) reach="${prefix%.*}." ;; *) reach="$prefix." ;; esac

case $role in
topics)
    acl --operation Create --operation Describe --operation DescribeConfigs --operation Alter \
        --operation AlterConfigs --topic "$prefix." --resource-pattern-type prefixed
    ;;
box)
    # shellcheck disable=SC2046,SC2086  # options and families, one word each
    acl --operation Write --operation Describe --operation DescribeConfigs $(named $families)
    acl --operation Read --operation Describe --operation DescribeConfigs --topic "$prefix.shares" --topic "$prefix.claims"
    acl --operation Write --topic "$prefix.claims"
    acl --operation Read --operation Describe --group "$prefix.shares"
    # Its mark, by which two boxes with one name find each other.
    acl --operation Read --operation Describe --group "$prefix.box." --resource-pattern-type prefixed
    ;;
centre)
    acl --operation Read --operation Describe --operation DescribeConfigs --topic "$reach" --resource-pattern-type prefixed
    acl --operation Write --topic "$prefix.dlq"
    acl --operation Read --operation Describe --operation Delete --group "$prefix." --resource-pattern-type prefixed
    ;;
dead-letters)
    # shellcheck disable=SC2046,SC2086
    acl --operation Write --operation Describe --topic "$prefix.dlq" $(named $families)
    acl --operation Read --topic "$prefix.dlq"
    ;;
subscriber)
    [ "$#" -gt 0 ] || set -- count alert view sensor health
    # shellcheck disable=SC2046,SC2086
    acl --operation Read --operation Describe $(named "$@")
    # Groups of its own: of `linli tail --group USER`, and of other clients.
    acl --operation Read --operation Describe --group "$prefix.$user" --group "$user"
    acl --operation Read --operation Describe --group "$prefix.$user." --group "$user." --resource-pattern-type prefixed
    ;;
mirror-source)
    # shellcheck disable=SC2046,SC2086
    acl --operation Read --operation Describe --operation DescribeConfigs $(named $families)
    ;;
mirror-target)
    [ "$#" = 1 ] || usage
    # shellcheck disable=SC2046,SC2086
    acl --operation Create --operation Write --operation Describe --operation DescribeConfigs --operation Alter \
        --operation AlterConfigs $(named $families)
    acl --operation All --topic "mm2-configs.$1.internal" --topic "mm2-offsets.$1.internal" \
        --topic "mm2-status.$1.internal" --topic "mm2-offset-syncs.$1.internal"
    acl --operation Read --operation Describe --group "$1-mm2"
    ;;
*) usage ;;
esac
echo "$role of $prefix: User:$user $([ "$verb" = --add ] && echo may || echo 'may no longer')"
