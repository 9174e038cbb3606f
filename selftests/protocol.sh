#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Each rule of the vhost-user protocol that a front-end can see, by a scripted front-end (frontend.py). The tests are
# functions of the protocol_*.py; each gets a bridge of its own. One of them: ONLY=part_of_its_name, as everywhere.
. "$(dirname "$0")/lib.sh"

export PYTHONDONTWRITEBYTECODE=1 BUILD WORK SOCK VIADUCT_LOG VIADUCT_PID=
PROTOCOL=$TOP/selftests/protocol.py

# protocol_test NAME KEYS PORTS STANDBY
protocol_test() {
	local rc n args=()
	make_nic 1 || return 1
	if [ "$3" -gt 0 ]; then
		for n in $(seq 1 "$3"); do args+=(--port "$(port "$n" "$2")"); done
	else
		args=(--port "name=vm0,socket=$SOCK,mac=$GUEST_MAC$([[ $2 == *queues=* ]] || echo ,queues=2)${2:+,$2}")
	fi
	[ "$4" = - ] || args+=(--standby "$4")
	start_viaduct --uplink nic0 "${args[@]}" || return 1
	timeout -k 5 120 python3 "$PROTOCOL" "$1"; rc=$?
	[ $rc = 77 ] && { skip "$(cat "$WORK/skipped")"; return; }
	if kill -0 "$VIADUCT_PID" 2>/dev/null; then
		ledger_balances || rc=1
		stop_viaduct || die "viaduct ended with $?" || rc=1
		nothing_is_left || rc=1
	fi
	return $rc
}

export TESTS_FROM=/run/protocol.tests
python3 "$PROTOCOL" --list >$TESTS_FROM || exit 1
while read -r name ports standby keys; do
	eval "$name() { protocol_test $name '$keys' $ports $standby; }"
done <$TESTS_FROM

run_tests
