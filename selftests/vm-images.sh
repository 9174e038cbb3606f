#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Fetches and builds what the virtual machines of the selftests boot. Outside the namespaces: it needs the package mirror.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/vm.sh"
fetch_newer_qemu || echo "no newer QEMU: the tests with it will be skipped"
fetch_kernel && guest_initramfs && nested_initramfs
