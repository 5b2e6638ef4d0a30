#!/bin/sh
# The real parts that the tests talk to, and what starts and checks them, from Debian. Without root and sudo it
# says what is missing: tests that need it are then skipped with that reason (LINLI_REQUIRE_SERVERS=1 makes it
# an error). `test-servers.sh scale`: only what Kafka, S3 and PostGIS need.
set -eu
scale="mosquitto postgresql-15-postgis-3 postgis maven"
all="python3-gi gir1.2-gst-rtsp-server-1.0 gir1.2-gstreamer-1.0 gir1.2-gst-plugins-base-1.0
gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-bad chromium fonts-noto-cjk
mosquitto-clients kcat prometheus shellcheck iproute2 iptables openssl"
case "${1:-}" in scale) packages="$scale" ;; *) packages="$scale $all" ;; esac
missing=""
for package in $packages; do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing="$missing $package"
done
command -v java >/dev/null 2>&1 || missing="$missing openjdk-17-jre-headless"
[ -n "$missing" ] || exit 0
if [ "$(id -u)" = 0 ]; then sudo=""; elif sudo -n true 2>/dev/null; then sudo="sudo"; else
    echo "tests that need these Debian packages are skipped: apt-get install$missing" >&2
    exit 0
fi
echo "installing Debian packages for the tests:$missing" >&2
# A database cluster that Debian makes and starts is not wanted: the tests start their own.
if [ ! -e /etc/postgresql-common/createcluster.conf ]; then
    $sudo mkdir -p /etc/postgresql-common
    echo 'create_main_cluster = false' | $sudo tee /etc/postgresql-common/createcluster.conf >/dev/null
fi
$sudo apt-get update -qq >&2
# shellcheck disable=SC2086
$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >&2
