#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# A NIC that really filters: viaduct inside a VM on QEMU's emulated virtio-net,
# whose receive filter works and whose driver has native XDP; viaduct-guest is
# the guest in that VM. The NIC's other end is a tap in the wire namespace.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/vm.sh"

# The VM's NIC has one queue pair more than CPUs, as virtio-net's native XDP wants (a tx queue per CPU).
start_nested() {
	ip netns add wire || return 1
	in_wire ip link set lo up
	in_wire ip tuntap add dev wire0 mode tap multi_queue vnet_hdr
	in_wire ip addr add $WIRE_IP/24 dev wire0
	in_wire ip link set wire0 up
	nested_initramfs || return 1
	VM_PREFIX="nsenter --net=/run/netns/wire" VM_CPUS=1 VM_RAM=512 start_vm nested \
		-netdev tap,id=up,ifname=wire0,script=no,downscript=no,queues=2,vhost=off \
		-device virtio-net-pci,netdev=up,id=nic,mac=52:54:00:00:00:01,mq=on,vectors=6,romfile=,guest_tso4=off,guest_tso6=off,guest_ecn=off,guest_ufo=off,guest_csum=off || return 1
	vm "ip link set eth0 up && ip addr add $HOST_IP/24 dev eth0 && ethtool -L eth0 combined 1"
	vm "(/bin/viaduct run --uplink eth0 $* --port name=vm0,socket=/run/vm0.sock,queues=1 >/tmp/viaduct.log 2>&1 &) ; for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do grep -q ' ready' /tmp/viaduct.log && break; usleep 500000; done; cat /tmp/viaduct.log; grep -q ' ready' /tmp/viaduct.log"
}
start_nested_guest() {
	vm "mkdir -p /run/netns && /bin/ip netns add guest && (/bin/viaduct-guest path=/run/vm0.sock,mac=$GUEST_MAC --tap tap0 --netns guest >/tmp/guest.log 2>&1 &) ; for i in 1 2 3 4 5 6 7 8 9 10; do grep -q ready /tmp/guest.log && break; usleep 500000; done; /bin/ip netns exec guest /bin/ip addr add $GUEST_IP/24 dev tap0; /bin/ip netns exec guest /bin/ip link set tap0 up; cat /tmp/guest.log"
}
# The NIC's own receive filter, as QEMU sees it.
filter_has() { "$TOP/selftests/qmp.py" "$WORK/vm.qmp" query-rx-filter | grep -qi "$1"; }

test_on_a_nic_that_filters_the_guests_learned_address_is_entered_and_traffic_flows() {
	start_nested || return 1
	vm "viaduct status" || return 1
	filter_has $GUEST_MAC && { die "the address is there before the guest"; return 1; }
	start_nested_guest || return 1
	# Unicast from the wire to an address the NIC does not know must not arrive; the guest speaks first.
	vm "/bin/ip netns exec guest ping -c 5 -W 3 $WIRE_IP" || return 1
	filter_has $GUEST_MAC || { die "not in the NIC's filter: $("$TOP/selftests/qmp.py" "$WORK/vm.qmp" query-rx-filter)"; return 1; }
	pings in_wire $GUEST_IP 3 && pings in_wire $HOST_IP 3 || return 1
	[ "$(vm "viaduct status --json" | jq -r '.uplink.xdp.mode')" = copy ] || die "not native: $(vm "viaduct status --json" | jq -c .uplink.xdp)" || return 1
	"$TOP/selftests/qmp.py" "$WORK/vm.qmp" query-rx-filter | jq -e '.[0].promiscuous == false' >/dev/null || die "promiscuous"
}
test_when_viaduct_ends_the_filter_of_the_nic_is_as_it_was() {
	start_nested && start_nested_guest && vm "/bin/ip netns exec guest ping -c 2 -W 3 $WIRE_IP" >/dev/null && filter_has $GUEST_MAC || return 1
	vm "killall -KILL viaduct; usleep 300000; true"
	wait_for 5 filter_has_not $GUEST_MAC
}
filter_has_not() { ! filter_has "$1"; }


# --- a kernel older than 6.6 -------------------------------------------------------

test_without_multi_buffer_sockets_an_mtu_of_9000_is_refused_with_the_mtu_that_works() {
	local out
	nested_initramfs && VM_CPUS=1 VM_RAM=512 start_vm nested || return 1
	vm "uname -r" | awk -F. '{exit !($1 > 6 || ($1 == 6 && $2 >= 6))}' && { skip "the kernel at hand has them: $(vm "uname -r")"; return; }
	vm "/bin/ip link add nic0 mtu 9000 type veth peer name wire0 mtu 9000 && /bin/ip link set nic0 up && /bin/ip link set wire0 up" || return 1
	out=$(vm "timeout 20 viaduct run --uplink nic0 --port name=vm0,socket=/run/vm0.sock 2>&1") && { die "it started: $out"; return 1; }
	[[ $out == *"MTU 9000 needs multi-buffer AF_XDP, which this kernel lacks (6.6 has it): ip link set dev nic0 mtu 3498"* ]] || { die "$out"; return 1; }
	vm "/bin/ip link set nic0 mtu 3498; (viaduct run --uplink nic0 --port name=vm0,socket=/run/vm0.sock >/tmp/viaduct.log 2>&1 &) ; for i in 1 2 3 4 5 6 7 8 9 10; do grep -q ' ready' /tmp/viaduct.log && break; usleep 500000; done; cat /tmp/viaduct.log; grep -q ' ready' /tmp/viaduct.log"
}

test_the_hosts_port_works_by_classifiers_and_with_vlan_devices() {
	local pattern out
	make_initramfs hostport virtio_pci virtio_console veth tun sch_ingress cls_bpf 8021q -- dash iperf3 ethtool ping ip tc ss bpftool \
		"$BUILD/selftests/uplink_host" || return 1
	VM_CPUS=1 VM_RAM=512 start_vm hostport || return 1
	vm "ln -sf dash /bin/sh"	# busybox has an ip of its own
	for pattern in 'host_and_guest*' 'a_vlan_device*' 'nothing_is_left*' 'a_killed*'; do
		out=$(vm "uplink_host '$pattern' 2>&1") || { die "$out"; return 1; }
		[[ $out != *"no VLAN devices"* ]] || { die "$out"; return 1; }
	done
}

# --- a machine with two NUMA nodes, CPU and memory of each -------------------------

# start_numa CPU-OF-VIADUCT CPU-OF-GUEST
start_numa() {
	nested_initramfs || return 1
	VM_NODES=2 VM_CPUS=2 VM_RAM=1024 start_vm nested || return 1
	vm "/bin/ip link add nic0 type veth peer name wire0 && /bin/ip link set nic0 up && /bin/ip link set wire0 up" || return 1
	vm "(/bin/viaduct run --uplink nic0 --cpus $1 --port name=vm0,socket=/run/vm0.sock >/tmp/viaduct.log 2>&1 &) ; for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do grep -q ' ready' /tmp/viaduct.log && break; usleep 500000; done; cat /tmp/viaduct.log; grep -q ' ready' /tmp/viaduct.log" || return 1
	vm "(taskset -c $2 /bin/viaduct-guest path=/run/vm0.sock,mac=$GUEST_MAC --sink >/tmp/guest.log 2>&1 &) ; for i in 1 2 3 4 5 6 7 8 9 10; do grep -q ready /tmp/guest.log && break; usleep 500000; done; grep -q ready /tmp/guest.log"
}
vm_status() { vm "viaduct status --json" | jq -r "$1"; }
# Pages on each node of the mappings of viaduct that match: "N0=... N1=..."
pages_of() { vm "grep -E '$1' /proc/\$(pidof viaduct)/numa_maps | grep -oE ' N[0-9]=[0-9]+'" | sort | awk -F= '{s[$1] += $2} END {for (n in s) printf "%s=%d", n, s[n]}' | tr -d ' '; }

test_frames_are_on_the_numa_node_of_the_workers_cpu_and_ring_state_on_that_of_the_guests_memory() {
	start_numa 1 1 || return 1
	[ "$(vm_status .uplink.numa_node)" = 1 ] && [ "$(vm_status '.ports[0].numa_node')" = 1 ] || { vm_status '[.uplink.numa_node, .ports[0].numa_node]' >&2; return 1; }
	[[ $(pages_of viaduct-umem) =~ ^N1=[0-9]+$ ]] || { die "UMEM: $(pages_of viaduct-umem)"; return 1; }
	[[ $(pages_of 'prefer.*:1 ') == *N1=* ]] || die "ring state: $(vm "grep prefer /proc/\$(pidof viaduct)/numa_maps")"
}
test_a_guest_on_another_numa_node_gets_its_ring_state_there_and_the_log_says_where_the_frames_are() {
	start_numa 0 1 || return 1
	[ "$(vm_status .uplink.numa_node)" = 0 ] && [ "$(vm_status '.ports[0].numa_node')" = 1 ] || { vm_status '[.uplink.numa_node, .ports[0].numa_node]' >&2; return 1; }
	vm "grep 'guest memory is on NUMA node 1, the frame buffers are on node 0' /tmp/viaduct.log"
}

run_tests
