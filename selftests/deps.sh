#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# deps.sh build|demo|check|bench: install what is missing for it, with apt. Nothing is done when nothing is missing.
set -u
what=${1:-build}
have() { dpkg-query -W -f='${Status}\n' "$1" 2>/dev/null | grep -q 'install ok installed'; }

# newest PREFIX: the package of that name with the highest number behind it
newest() {
	[ -n "$(apt-cache pkgnames "$1")" ] || [ "$(id -u)" != 0 ] || apt-get update -qq >/dev/null 2>&1
	apt-cache pkgnames "$1" | grep -E "^$1-?[0-9]+$" | sort -V | tail -n 1
}

pkgs="make gcc clang llvm pkg-config libc6-dev libbpf-dev libxdp-dev libelf-dev zlib1g-dev libjansson-dev libinih-dev libmnl-dev libsystemd-dev libnuma-dev"
command -v bpftool >/dev/null || [ -x /usr/sbin/bpftool ] || pkgs="$pkgs bpftool"
case $what in demo | check | bench) pkgs="$pkgs iproute2 iputils-ping iperf3 ethtool jq procps util-linux" ;; esac
case $what in
check | bench)
	pkgs="$pkgs dpdk dpdk-dev valgrind netcat-openbsd python3"	# testpmd is in the second one
	pkgs="$pkgs qemu-system-x86 busybox-static cpio kmod xz-utils zstd"
	for p in mempool-ring net-vhost net-virtio net-af-xdp net-tap; do	# its drivers carry the version in their names
		pkgs="$pkgs $(newest "librte-$p")"
	done
	;;
esac
if [ "$what" = check ]; then
	pkgs="$pkgs libcmocka-dev iputils-arping bsdextrautils mandoc"
	major=$(clang --version 2>/dev/null | grep -oE 'version [0-9]+' | grep -oE '[0-9]+')
	[ -n "$major" ] && apt-cache show "libclang-rt-$major-dev" >/dev/null 2>&1 && pkgs="$pkgs libclang-rt-$major-dev"
fi
missing=""
for p in $pkgs; do have "$p" || missing="$missing $p"; done
case $missing in *" iputils-arping"*) command -v arping >/dev/null && missing=${missing/ iputils-arping/} ;; esac
[ -z "$missing" ] && exit 0
if [ "$(id -u)" != 0 ]; then
	echo "missing packages:$missing" >&2
	echo "install them: sudo apt-get install$missing" >&2
	exit 1
fi
echo "installing:$missing"
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
apt-get update -qq >"$log" 2>&1
# Ubuntu has bpftool in its kernel tools.
case $missing in *" bpftool"*)
	[ -n "$(apt-cache policy bpftool | awk '/Candidate:/ && $2 != "(none)"')" ] ||
		missing="${missing/ bpftool/} linux-tools-common linux-tools-generic" ;;
esac
# shellcheck disable=SC2086
if ! apt-get install -y -qq --no-install-recommends $missing >>"$log" 2>&1; then
	tail -n 20 "$log" >&2
	echo "could not install:$missing" >&2
	exit 1
fi
rm -f "$log"
# The first run may have come without clang: its runtime's version is known only now.
[ "$what" = check ] && [ -z "${DEPS_AGAIN:-}" ] && DEPS_AGAIN=1 exec "$0" "$what"
exit 0
