#!/bin/sh
# Installs the mail servers that the bench holds glasspost against. Root, or sudo. Run it as often as you like.
#
#   sh bench/peers.sh              Postfix, Dovecot, Exim, OpenSMTPD: Debian packages
#   sh bench/peers.sh --haraka     Haraka as well, from npm
#
# No daemon is started by it, now or later. Exim and OpenSMTPD cannot be installed beside Postfix, so their packages
# are unpacked below bench/results/peers; the bench runs them in a mount namespace of its own, where the paths that
# are compiled into them lead to directories of one run. For that the paths must exist: three empty directories.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
root=$here/results/peers
haraka=3.3.4

if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || { echo "bench/peers.sh: needs root, or sudo" >&2; exit 1; }
    exec sudo sh "$0" "$@"
fi

policy=/usr/sbin/policy-rc.d
aside=$policy.before-glasspost-bench

forbid_daemons() {
    if [ -e "$policy" ] && [ ! -e "$aside" ]; then mv "$policy" "$aside"; fi
    trap allow_daemons EXIT
    trap 'exit 1' HUP INT TERM
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
}

allow_daemons() {
    rm -f "$policy"
    if [ -e "$aside" ]; then mv "$aside" "$policy"; fi
}

apt() {
    DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 \
        -o Dpkg::Use-Pty=0 "$@"
}

installed() {
    dpkg-query -W -f '${Status}' "$1" 2>/dev/null | grep -q 'ok installed'
}

# What the packages, and the binaries in them that are only unpacked, need.
packages="postfix dovecot-core dovecot-pop3d openssl iproute2 util-linux
    libgnutls-dane0 libidn12 libidn2-0 libnsl2 libpcre2-8-0 libevent-2.1-7 libpam0g libdb5.3"
wanted=""
for package in $packages; do
    installed "$package" || wanted="$wanted $package"
done

unpacked() { [ -x "$root/exim/usr/sbin/exim4" ] && [ -x "$root/opensmtpd/usr/sbin/smtpd" ]; }

if [ -n "$wanted" ] || ! unpacked; then
    echo "bench: installing$wanted exim4-daemon-light opensmtpd"
    forbid_daemons
    apt update
    echo "postfix postfix/main_mailer_type select No configuration" | debconf-set-selections
    # shellcheck disable=SC2086
    [ -z "$wanted" ] || apt install --yes --no-install-recommends $wanted >/dev/null
    mkdir -p "$root/deb"
    chmod 755 "$root"
    (cd "$root/deb" && chmod 777 . && apt download exim4-daemon-light opensmtpd)
    dpkg -x "$root"/deb/exim4-daemon-light_*.deb "$root/exim"
    dpkg -x "$root"/deb/opensmtpd_*.deb "$root/opensmtpd"
fi

user() { # name home
    id "$1" >/dev/null 2>&1 && return
    useradd --system --user-group --no-create-home --home-dir "$2" --shell /usr/sbin/nologin "$1"
}

useradd_bad() { # Debian's name for Exim has a capital
    id Debian-exim >/dev/null 2>&1 && return
    useradd --badname --system --user-group --no-create-home --home-dir /var/spool/exim4 \
        --shell /usr/sbin/nologin Debian-exim 2>/dev/null ||
        adduser --system --group --no-create-home --home /var/spool/exim4 --quiet --force-badname Debian-exim
}

useradd_bad
user opensmtpd /var/lib/opensmtpd/empty
user opensmtpq /var/lib/opensmtpd/empty
mkdir -p /var/lib/opensmtpd/empty /etc/exim4 /var/spool/smtpd /usr/libexec/opensmtpd
chgrp opensmtpq "$root/opensmtpd/usr/sbin/smtpctl"
chmod 2555 "$root/opensmtpd/usr/sbin/smtpctl"

if [ "${1:-}" = --haraka ]; then
    command -v npm >/dev/null || { echo "bench: Haraka needs node and npm" >&2; exit 1; }
    mkdir -p "$root/haraka"
    npm install --prefix "$root/haraka" --no-audit --no-fund --omit=optional "Haraka@$haraka"
fi
echo "bench: peers are there"
