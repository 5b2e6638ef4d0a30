#!/bin/sh
# Linli on an edge box, or in the command centre: user, programs, settings, service. As often as wanted: what is
# there stays, a newer Linli replaces the older one. Debian 12, or another system with Python 3.11 and systemd.
#
#   deploy/install-edge.sh [OPTIONS]
#
#   --centre       the command centre (linli serve) instead of an edge box (linli run)
#   --source DIR   a checkout or a wheel of Linli; this checkout by default
#   --model NAME   fetched for the edge box: a name of `linli models list`; the default one unless said; none: "none"
#   --start        enable and start the service once `linli doctor` finds nothing that fails
#   --root DIR     install below DIR (an image that is being made): no user, no service, no model, no check
#   --dry-run      only say what would be done
set -eu

here=$(cd "$(dirname "$0")" && pwd)
role=edge source=$(dirname "$here") model='' start='' root='' dry=''
usage() { sed -n '2,/^set -eu/s/^# \{0,1\}//p' "$0"; }
while [ "$#" -gt 0 ]; do
    case $1 in
    --centre) role=centre ;;
    --source | --model | --root)
        [ "$#" -ge 2 ] || { echo "$1 needs a value" >&2; exit 2; }
        case $1 in --source) source=$2 ;; --model) model=$2 ;; --root) root=${2%/} ;; esac
        shift ;;
    --start) start=1 ;;
    --dry-run) dry=1 ;;
    -h | --help) usage; exit 0 ;;
    *) echo "unknown option: $1" >&2; usage >&2; exit 2 ;;
    esac
    shift
done
case $role in
edge) unit=linli.service settings=site.toml logins=logins extras=city,demo data=/var/lib/linli ;;
centre) unit=linli-serve.service settings=centre.toml logins=centre-logins extras=city data=/var/lib/linli-serve ;;
esac
opt=$root/opt/linli etc=$root/etc/linli

say() { echo "$*" >&2; }
fail() { say "install-edge: $*"; exit 1; }
# Do it, or with --dry-run only say so.
run() { if [ -n "$dry" ]; then say "would: $*"; else "$@"; fi; }
# Owners exist on the machine itself, not in a tree that is being made.
own() { if [ -z "$root" ]; then run chown "$@"; fi; }
# put FROM TO MODE OWNER: a file that is ours to replace.
put() {
    if cmp -s "$1" "$2"; then return 0; fi
    say "new: $2"
    run install -m "$3" "$1" "$2"
    own "$4" "$2"
}
# keep FROM TO MODE OWNER: a file that is the owner's once it is there.
keep() { if [ ! -e "$2" ]; then put "$@"; fi; }
folder() {
    if [ ! -d "$1" ]; then run install -d -m "$2" "$1"; fi
    own "$3" "$1"
}

check_machine() {
    [ -n "$root$dry" ] || [ "$(id -u)" = 0 ] || fail 'it makes a user and a service: run it as root (sudo)'
    for python in /usr/bin/python3 /usr/bin/python3.11 /usr/bin/python3.12 /usr/bin/python3.13 ''; do
        [ -n "$python" ] || fail 'no Python 3.11 or later in /usr/bin: apt-get install python3 python3-venv'
        if "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then break; fi
    done
    "$python" -c 'import ensurepip, venv' 2>/dev/null || fail 'Python has no venv: apt-get install python3-venv'
    [ -e "$source" ] || fail "--source $source: there is nothing"
    if [ -d "$source" ] && [ ! -e "$source/pyproject.toml" ]; then fail "--source $source: not a checkout of Linli"; fi
    run mkdir -p "$root/opt" || fail "--root $root cannot be made"
    place=$root/opt
    while [ ! -e "$place" ]; do place=$(dirname "$place"); done
    free=$(df -Pm "$place" | awk 'NR == 2 { print $4 }')
    [ "${free:-0}" -ge 2000 ] || fail "only ${free:-0} MB are free for /opt: 2000 are needed"
}

make_user() {
    if [ -n "$root" ] || getent passwd linli >/dev/null; then return 0; fi
    say 'new: user linli'
    run useradd --system --home-dir /var/lib/linli --no-create-home --shell /usr/sbin/nologin linli
}

install_programs() {
    if [ ! -x "$opt/bin/python" ] || ! "$opt/bin/python" -c '' 2>/dev/null; then
        say "new: $opt"
        run "$python" -m venv --clear "$opt"
    fi
    say "installing Linli from $source"
    run "$opt/bin/python" -m pip install --quiet --disable-pip-version-check --upgrade "${source}[$extras]"
    # The same version again, of another state of the checkout.
    run "$opt/bin/python" -m pip install --quiet --disable-pip-version-check --force-reinstall --no-deps "$source"
    put "$here/../README.md" "$opt/README.md" 644 root:root
}

install_settings() {
    folder "$etc" 750 root:linli
    folder "$etc/secrets" 700 linli:linli
    keep "$here/$role.toml.example" "$etc/$settings" 640 root:linli
    keep "$here/$role.env.example" "$etc/$logins" 600 root:root
    if [ -e "$etc/$logins" ]; then
        run chmod 600 "$etc/$logins"
        own root:root "$etc/$logins"
    fi
    if [ "$role" = edge ] && [ ! -e "$etc/secrets/gate-office" ]; then
        say "new: $etc/secrets/gate-office (what the gate office types into the page)"
        if [ -n "$dry" ]; then return 0; fi
        (umask 077 && od -An -N24 -tx1 /dev/urandom | tr -d ' \n' >"$etc/secrets/gate-office")
        own linli:linli "$etc/secrets/gate-office"
    fi
}

install_unit() {
    run mkdir -p "$root/etc/systemd/system"
    put "$here/$unit" "$root/etc/systemd/system/$unit" 644 root:root
}

# As the user linli, with the service's environment.
as_linli() {
    (
        # As systemd reads it: nothing in it is a command.
        while IFS= read -r line || [ -n "$line" ]; do
            case $line in [A-Za-z_]*=*) export "${line?}" ;; esac
        done <"$etc/$logins"
        cd /
        HOME=/var/lib/linli LINLI_DATA=$data LINLI_MODELS=/var/lib/linli/models
        [ "$role" = centre ] || LINLI_DATA=$data/data
        export HOME LINLI_DATA LINLI_MODELS
        exec runuser -u linli -- "$opt/bin/linli" "$@"
    )
}

finish() {
    if [ -n "$dry" ]; then say 'nothing was changed'; return 0; fi
    if [ -n "$root" ]; then say "installed below $root; its first start fetches the model: linli models pull"; return 0; fi
    folder "$data" 750 linli:linli
    if [ "$role" = edge ] && [ "$model" != none ]; then
        as_linli models pull ${model:+"$model"} ||
            fail 'no model: fetch it on another machine (linli models pull) and copy it to /var/lib/linli/models'
    fi
    healthy=1
    if [ "$role" = edge ]; then as_linli doctor "$etc/$settings" || healthy=''; fi
    if [ ! -d /run/systemd/system ]; then say "installed; systemd does not run here, so $unit was not started"; return 0; fi
    systemctl daemon-reload
    if [ -z "$start" ]; then
        if systemctl is-active --quiet "$unit"; then say "installed; the old one runs on until: systemctl restart $unit"
        else say "installed. Edit $etc/$settings and $etc/$logins, then: $0 --start"; fi
        return 0
    fi
    [ -n "$healthy" ] || fail "not started: mend what failed above, then: $0 --start"
    systemctl enable --quiet "$unit"
    systemctl restart "$unit"
    say "started: journalctl -u $unit -f"
}

check_machine
make_user
install_programs
install_settings
install_unit
finish
