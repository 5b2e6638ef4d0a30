#!/bin/sh
# The real parts that the tests talk to, from Debian. Without root and sudo it says what is missing:
# tests that need it are then skipped with that reason (LINLI_REQUIRE_SERVERS=1 makes it an error).
set -eu
packages="python3-gi gir1.2-gst-rtsp-server-1.0 gir1.2-gstreamer-1.0 gir1.2-gst-plugins-base-1.0
gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-bad chromium fonts-noto-cjk
mosquitto mosquitto-clients"
missing=""
for package in $packages; do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing="$missing $package"
done
[ -n "$missing" ] || exit 0
if [ "$(id -u)" = 0 ]; then sudo=""; elif sudo -n true 2>/dev/null; then sudo="sudo"; else
    echo "tests that need these Debian packages are skipped: apt-get install$missing" >&2
    exit 0
fi
echo "installing Debian packages for the tests:$missing" >&2
$sudo apt-get update -qq >&2
# shellcheck disable=SC2086
$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >&2
