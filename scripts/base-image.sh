#!/bin/sh
# Makes a Debian base image with Python for machines that cannot pull one: debootstrap and an import, no registry.
# The tests and benchmarks build the Dockerfile on it: PYTHON_IMAGE=oomproof-base.
#
#   sh scripts/base-image.sh [NAME]      NAME defaults to oomproof-base; nothing is done if the image is there
#
# ENGINE=docker|podman   the client to import with
# FORCE=1                make it again
# MIRROR=URL             where packages come from; else what apt on this machine uses for this release, else
#                        debootstrap's own default
# Needs root (debootstrap makes device nodes and changes root).
set -eu

NAME=${1:-${NAME:-oomproof-base}}
ENGINE=${ENGINE:-docker}
# The release whose python3 is 3.11, as in the image that the Dockerfile asks for by default.
SUITE=bookworm
PACKAGES=python3,python3-venv,ca-certificates

say() { printf 'base-image: %s\n' "$*"; }
fail() {
    printf 'base-image: %s\n' "$1" >&2
    printf '%s\n' "$2" >&2
    exit 1
}

if [ "${FORCE:-0}" != 1 ] && "$ENGINE" image inspect "$NAME" >/dev/null 2>&1; then
    say "$NAME is there already; FORCE=1 makes it again"
    exit 0
fi
"$ENGINE" version >/dev/null 2>&1 || fail "no engine answers to '$ENGINE'" "Start one, or name another: ENGINE=podman"
command -v debootstrap >/dev/null || fail "debootstrap is not installed" "On Debian and Ubuntu: apt-get install debootstrap"
[ "$(id -u)" = 0 ] || fail "debootstrap needs root" "Run: sudo env ENGINE=$ENGINE sh $0 $NAME"

work=$(mktemp -d "${TMPDIR:-/tmp}/oomproof-base-XXXXXX")
root=$work/root
clean_up() {
    # debootstrap that is interrupted leaves these mounted, and what is in them is this machine's.
    umount "$root/proc" "$root/sys" 2>/dev/null || true
    rm -rf --one-file-system "$work"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
# mktemp's directory is the owner's alone, but apt gives up its rights to read in there.
chmod 755 "$work"

# What apt here uses for that release, in either form of its sources.
apt_mirror() {
    cat /etc/apt/sources.list.d/*.sources 2>/dev/null | awk -v suite="$SUITE" '
        tolower($1) == "uris:" { uri = $2 }
        tolower($1) == "suites:" { for (i = 2; i <= NF; i++) if ($i == suite && uri) { print uri; exit } }
        NF == 0 { uri = "" }'
    cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list 2>/dev/null | awk -v suite="$SUITE" '
        $1 == "deb" { for (i = 3; i <= NF; i++) if ($i == suite) { print $(i - 1); exit } }'
}
MIRROR=${MIRROR:-$(apt_mirror | head -n 1)}

say "debootstrap of $SUITE, about a minute"
# Without a mirror the argument has to be left out, not empty.
debootstrap --variant=minbase --include="$PACKAGES" "$SUITE" "$root" ${MIRROR:+"$MIRROR"} >"$work/log" 2>&1 || {
    tail -n 5 "$work/log" >&2
    fail "debootstrap failed; its last lines are above" "Name a mirror that this machine reaches: MIRROR=http://..."
}

# Package installs in a build here must work as they do on this machine: its certificates, and pip's and apt's settings.
if [ -f /etc/ssl/certs/ca-certificates.crt ]; then
    cat /etc/ssl/certs/ca-certificates.crt >"$root/etc/ssl/certs/ca-certificates.crt"
fi
[ ! -f /etc/pip.conf ] || cp /etc/pip.conf "$root/etc/pip.conf"
if [ -d /etc/xdg/pip ]; then
    mkdir -p "$root/etc/xdg"
    cp -R /etc/xdg/pip "$root/etc/xdg/pip"
fi
# Proxies, checks of dates and the like. Index targets are left out: their defaults hold placeholders of apt's own.
if command -v apt-config >/dev/null; then
    apt-config dump --no-empty Acquire | grep -v IndexTargets >"$root/etc/apt/apt.conf.d/90this-machine"
fi
# The release's updates too, where this machine has them: else a build may want a package that its mirror dropped.
for source in /etc/apt/sources.list.d/*.sources; do
    # The path of the key is one that the base has too.
    if [ -f "$source" ] && grep -q "^Suites:.*$SUITE" "$source" && grep -q 'debian-archive-keyring' "$source"; then
        cp "$source" "$root/etc/apt/sources.list.d/"
        : >"$root/etc/apt/sources.list"
    fi
done

# What was only needed to install.
rm -rf "$root"/var/lib/apt/lists/* "$root"/var/cache/apt/* "$root"/var/cache/debconf/*-old "$root"/var/log/* \
    "$root"/usr/share/doc/* "$root"/usr/share/man/* "$root"/usr/share/info/* "$root"/usr/share/locale/* \
    "$root"/tmp/* "$root"/var/tmp/*
find "$root" -xdev -depth -name __pycache__ -type d -exec rm -rf {} +
# As in Debian's own images: packages are not kept after an install.
echo 'APT::Keep-Downloaded-Packages "false"; DPkg::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb || true"; };' \
    >"$root/etc/apt/apt.conf.d/90no-archives"

tar -C "$root" --numeric-owner --exclude='./dev/*' --exclude='./proc/*' --exclude='./sys/*' -c . |
    "$ENGINE" import --change 'CMD ["bash"]' - "$NAME" >/dev/null
say "$NAME: $("$ENGINE" image inspect --format '{{.Size}}' "$NAME" | awk '{ printf "%.0f MiB", $1 / 2^20 }')"
