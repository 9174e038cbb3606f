#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# isolate.sh COMMAND...: run it in network, mount and process namespaces of its
# own, with an own bpffs and an own /run. When COMMAND ends, everything in there
# ends with it: interfaces, pins, sockets, processes.
[ "$(id -u)" = 0 ] || { echo "isolate.sh: run as root" >&2; exit 1; }
exec unshare --net --mount --pid --fork --kill-child --mount-proc --propagation private bash -c '
	mount -t tmpfs -o mode=755 tmpfs /run && mount -t bpf bpf /sys/fs/bpf && mkdir -p /run/netns &&
	exec "$@"' isolate "$@"
