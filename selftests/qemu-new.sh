#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# The tests of qemu.sh once more, with a QEMU of version 9 or later (MSI-X, newer vhost-user).
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/vm.sh"
if ! QEMU_PROGRAM=$(newer_qemu); then
	echo "skipped qemu-new: the installed QEMU is older than 9 and the backports could not be reached"
	echo "0 passed, 0 failed, 1 skipped" >"${RESULT:-/dev/null}"
	exit 0
fi
echo "$($QEMU_PROGRAM --version | head -n 1)"
TESTS_FROM=$(dirname "$0")/qemu.sh
. "$TESTS_FROM"
