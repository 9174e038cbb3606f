# SPDX-License-Identifier: BSD-2-Clause
# Virtual machines for selftests: a Debian cloud kernel with a small initramfs,
# under QEMU, emulated where there is no KVM. Sourced after lib.sh.
#
# The kernel and its modules come from the distribution's package, unpacked
# under build/ (never installed: this machine's boot loader is not ours).

VM_DIR=$BUILD/vm
VM_RAM=${VM_RAM:-256}
QEMU_PROGRAM=${QEMU_PROGRAM:-qemu-system-x86_64}	# with options, if any

# fetch_newer_qemu: where the installed QEMU is older than 9, unpack the one of Debian's backports under $VM_DIR/qemu.
fetch_newer_qemu() {
	local dir=$VM_DIR/qemu apt d
	newer_qemu >/dev/null && return 0
	. /etc/os-release
	[ "$ID" = debian ] && [ -e /etc/apt/sources.list.d/debian.sources ] || { echo "no backports to take it from"; return 1; }
	rm -rf "$dir"; mkdir -p "$dir"/{etc,lists/partial,cache/archives/partial}
	# The first stanza's mirror and key, with the backports suite.
	awk 'BEGIN {RS = ""} !/security/ {print; exit}' /etc/apt/sources.list.d/debian.sources |
		sed "s/^Suites:.*/Suites: $VERSION_CODENAME-backports/" >"$dir/etc/backports.sources"
	apt="-o Dir::Etc::sourcelist=/dev/null -o Dir::Etc::sourceparts=$dir/etc -o Dir::State::lists=$dir/lists -o Dir::Cache=$dir/cache"
	# shellcheck disable=SC2086
	(cd "$dir" && apt-get $apt -qq update && apt-get $apt -qq download qemu-system-x86 qemu-system-common qemu-system-data seabios) || return 1
	for d in "$dir"/*.deb; do dpkg -x "$d" "$dir" || return 1; done
	newer_qemu >/dev/null
}
# newer_qemu: prints how to run a QEMU of at least version 9.
newer_qemu() {
	local q=$VM_DIR/qemu/usr
	if [ -x "$q/bin/qemu-system-x86_64" ] && ! ldd "$q/bin/qemu-system-x86_64" | grep -q 'not found'; then
		echo "$q/bin/qemu-system-x86_64 -L $q/share/qemu -L $q/share/seabios"
	else
		qemu-system-x86_64 --version | grep -qE 'version (9|[1-9][0-9])' && echo qemu-system-x86_64
	fi
}

# fetch_kernel: unpack the newest cloud (Debian) or virtual (Ubuntu) kernel under $VM_DIR/root.
fetch_kernel() {
	local pkg
	[ -e "$VM_DIR/vmlinuz" ] && return 0
	mkdir -p "$VM_DIR/root" "$VM_DIR/deb"
	if apt-cache show linux-image-cloud-amd64 >/dev/null 2>&1; then
		pkg=$(apt-cache depends linux-image-cloud-amd64 | awk '/Depends: linux-image/ {print $2; exit}')
	else
		pkg=$(apt-cache depends linux-image-virtual | awk '/Depends: linux-(image|modules)/ {print $2}')
	fi
	# shellcheck disable=SC2086
	(cd "$VM_DIR/deb" && apt-get download $pkg >/dev/null) || return 1
	for pkg in "$VM_DIR"/deb/*.deb; do dpkg -x "$pkg" "$VM_DIR/root" || return 1; done
	cp "$VM_DIR"/root/boot/vmlinuz-* "$VM_DIR/vmlinuz"
}

# copy_program ROOT PROGRAM...: with the libraries it needs.
copy_program() {
	local root=$1 p lib; shift
	for p in "$@"; do
		p=$(PATH=$PATH:/usr/sbin:/sbin command -v "$p") || { echo "no program $p" >&2; return 1; }
		mkdir -p "$root/bin"
		cp -L "$p" "$root/bin/"
		ldd "$p" 2>/dev/null | grep -oE '/[^ ]+' | while read -r lib; do
			mkdir -p "$root$(dirname "$lib")"
			[ -e "$root$lib" ] || cp -L "$lib" "$root$lib"
		done
	done
}

# make_initramfs NAME MODULE... -- PROGRAM...: $VM_DIR/NAME.cpio, loading the modules and running the programs asked for.
make_initramfs() {
	local name=$1 root=$VM_DIR/$1.root mod mods=() out=$VM_DIR/$1.cpio; shift
	[ -e "$out" ] && [ "$out" -nt "$BUILD/viaduct" ] && [ "$out" -nt "${BASH_SOURCE[0]}" ] && return 0
	rm -rf "$root"; mkdir -p "$root"/{bin,dev,proc,sys,tmp,run,lib/mods,sys/fs/bpf}
	while [ $# -gt 0 ] && [ "$1" != -- ]; do mods+=("$1"); shift; done
	[ $# -gt 0 ] && shift
	cp "$(command -v busybox)" "$root/bin/busybox"
	copy_program "$root" "$@" || return 1
	local kernel; kernel=$(echo "$VM_DIR"/root/lib/modules/*)
	# Each module after what it needs, in the order modules.dep would give.
	: >"$root/lib/mods/order"
	[ -e "$kernel/modules.dep" ] || depmod -b "$VM_DIR/root" "$(basename "$kernel")"
	for mod in "${mods[@]}"; do
		local line
		line=$(grep -E "/$mod\.ko[^:]*:" "$kernel/modules.dep") || continue	# built in
		for m in $(echo "$line" | sed 's/.*: *//' | tr ' ' '\n' | tac) "${line%%:*}"; do
			grep -qx "$(basename "$m")" "$root/lib/mods/order" && continue
			case $m in *.zst) zstd -qdf "$kernel/$m" -o "$root/lib/mods/$(basename "$m")" ;;
			*.xz) xz -dc "$kernel/$m" >"$root/lib/mods/$(basename "$m")" ;;
			*) cp "$kernel/$m" "$root/lib/mods/" ;; esac
			basename "$m" >>"$root/lib/mods/order"
		done
	done
	cat >"$root/init" <<-'INIT'
	#!/bin/busybox sh
	/bin/busybox --install -s /bin
	export PATH=/bin
	mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev
	mount -t tmpfs tmp /tmp; mount -t tmpfs run /run; mount -t bpf bpf /sys/fs/bpf 2>/dev/null
	mkdir -p /dev/shm; mount -t tmpfs shm /dev/shm
	for m in $(cat /lib/mods/order); do insmod /lib/mods/$m || echo "insmod $m failed"; done
	ip link set lo up
	until [ -c /dev/vport0p1 ] || [ -c /dev/vport1p1 ] || [ -c /dev/vport2p1 ]; do usleep 20000; done
	port=$(ls /dev/vport?p1 | head -n 1)
	exec 3<>$port
	while :; do	# nobody at the other end reads as end of file
		read -r line <&3 || { usleep 20000; continue; }
		sh -c "$line" >/tmp/out 2>&1 </dev/null
		echo "@@RC $?" >>/tmp/out
		cat /tmp/out >&3
	done
	INIT
	chmod +x "$root/init"
	(cd "$root" && find . | busybox cpio -o -H newc 2>/dev/null) >"$out"
}

# vm_memory: QEMU arguments for the VM's memory, which a vhost-user back-end can map; VM_NODES=2 splits memory and CPUs,
# VM_MEMORY_FILE: where it can be read.
vm_memory() {
	local i
	if [ -n "${VM_MEMORY_FILE:-}" ]; then
		echo "-object memory-backend-file,id=mem,mem-path=$VM_MEMORY_FILE,size=${VM_RAM}M,share=on -numa node,memdev=mem"
		return
	fi
	if [ "${VM_NODES:-1}" = 1 ]; then
		echo "-object memory-backend-memfd,id=mem,size=${VM_RAM}M,share=on -numa node,memdev=mem"
		return
	fi
	for i in $(seq 0 $((VM_NODES - 1))); do
		echo "-object memory-backend-memfd,id=mem$i,size=$((VM_RAM / VM_NODES))M,share=on -numa node,memdev=mem$i,cpus=$i"
	done
}

# launch_vm INITRAMFS QEMU-ARGUMENT...: in the background. VM_NAME: of its sockets and logs, where there are several.
VM_NAME=vm
launch_vm() {
	local initrd=$VM_DIR/$1.cpio khz accel=tcg,thread=multi at=$WORK/$VM_NAME; shift
	khz=$(awk '/cpu MHz/ {printf "%d", $4 * 1000; exit}' /proc/cpuinfo)
	rm -f "$at.cmd"
	VM_LOG=$at.log
	${VM_PREFIX:-} $QEMU_PROGRAM -accel $accel -cpu "${VM_CPU:-max,la57=off}" -M q35,usb=off,vmport=off -smp "${VM_CPUS:-2}" \
		-nodefaults -no-user-config -display none -m "$VM_RAM" \
		$(vm_memory) \
		-kernel "$VM_DIR/vmlinuz" -initrd "$initrd" -serial file:"$at.console" \
		-append "console=ttyS0 quiet mitigations=off tsc=reliable no_timer_check tsc_early_khz=$khz" \
		-device virtio-serial -chardev socket,id=cmd,path="$at.cmd",server=on,wait=off \
		-device virtserialport,chardev=cmd,name=cmd -qmp unix:"$at.qmp",server=on,wait=off \
		"$@" >"$VM_LOG" 2>&1 &
	VM_PID=$!
}
# start_vm: as launch_vm; waits until its shell answers.
start_vm() {
	launch_vm "$@"
	wait_for 90 vm_answers_or_is_gone
	vm_answers || { tail -n 20 "$WORK/$VM_NAME.console" "$VM_LOG" >&2; return 1; }
}
vm_answers_or_is_gone() { vm_answers || ! kill -0 "$VM_PID" 2>/dev/null; }
vm_answers() { [ -S "$WORK/$VM_NAME.cmd" ] && timeout 10 "$TOP/selftests/vmsh.py" "$WORK/$VM_NAME.cmd" true; }

# vm COMMAND: run it in the guest; its output and exit code.
vm() { "$TOP/selftests/vmsh.py" "$WORK/$VM_NAME.cmd" "$*"; }

# vhost_net SOCKET [PAIRS] [MORE]: QEMU arguments for a virtio-net device over vhost-user. VHOST_CHARDEV: how its socket is
# to be, instead of one that connects, and again every second.
# vectors=0: QEMU 7.2 dies when a vhost device starts with MSI-X under emulation.
vhost_net() {
	local sock=$1 pairs=${2:-1} more=${3:-} vectors=0
	case $($QEMU_PROGRAM --version | grep -oE 'version [0-9]+' | grep -oE '[0-9]+') in
	[89]|[1-9][0-9]) vectors=$((2 * pairs + 2)) ;;
	esac
	echo "-chardev socket,id=vu,path=$sock,${VHOST_CHARDEV:-reconnect=1}" \
		"-netdev vhost-user,id=n0,chardev=vu,queues=$pairs" \
		"-device virtio-net-pci,netdev=n0,mac=$GUEST_MAC,mq=$([ "$pairs" -gt 1 ] && echo on || echo off),vectors=$vectors,romfile=$more"
}

guest_initramfs() { make_initramfs guest virtio_pci virtio_console virtio_net 8021q -- iperf3 ethtool ping chrt "$BUILD/vd-numbered"; }
nested_initramfs() {
	make_initramfs nested virtio_pci virtio_console virtio_net veth tun -- iperf3 ethtool ping ip ss jq nsenter \
		bpftool "$BUILD/viaduct" "$BUILD/viaduct-guest"
}

# start_qemu_guest [PAIRS] [MORE]: a VM whose eth0 is on viaduct's socket, with an address.
start_qemu_guest() {
	guest_initramfs || return 1
	# shellcheck disable=SC2046
	start_vm guest $(vhost_net "$SOCK" "$@") || return 1
	vm "ip addr add $GUEST_IP/24 dev eth0 && ip link set eth0 up" && wait_for 20 port_is_up
}
