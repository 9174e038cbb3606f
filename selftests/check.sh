#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# make check: every test there is. The last line counts them.
cd "$(dirname "$0")/.." || exit 1
BUILD=${BUILD:-$PWD/build}; export BUILD
FUZZ_SECONDS=${FUZZ_SECONDS:-10}
LOGS=$BUILD/results
PASSED=0 FAILED=0 SKIPPED=0
mkdir -p "$LOGS"; rm -f "$LOGS"/*

add() { PASSED=$((PASSED + $1)); FAILED=$((FAILED + $2)); SKIPPED=$((SKIPPED + ${3:-0})); }
# one NAME COMMAND...: counts as one test; its output is shown when it fails.
one() {
	local name=$1 start=$SECONDS; shift
	if "$@" >"$LOGS/$name.log" 2>&1; then
		add 1 0; printf 'ok      %s (%ds)\n' "$name" $((SECONDS - start))
	else
		add 0 1; printf 'FAILED  %s (%ds)\n' "$name" $((SECONDS - start)); tail -n 40 "$LOGS/$name.log" | sed 's/^/    | /'
	fi
}
# cmocka NAME COMMAND...: a program of many tests, counted by its own closing lines.
cmocka() {
	local name=$1 p f s start=$SECONDS; shift
	timeout 300 "$@" >"$LOGS/$name.log" 2>&1; local rc=$?
	p=$(sed -n 's/^\[  PASSED  \] \([0-9]*\) test.*/\1/p' "$LOGS/$name.log" | paste -sd+ | bc_)
	f=$(sed -n 's/^\[  FAILED  \] \([0-9]*\) test.*/\1/p' "$LOGS/$name.log" | paste -sd+ | bc_)
	s=$(sed -n 's/^\[  SKIPPED \] \([0-9]*\) test.*/\1/p' "$LOGS/$name.log" | paste -sd+ | bc_)
	[ $rc != 0 ] && [ "$f" = 0 ] && f=1	# crashed, leaked or hung
	[ $rc = 0 ] && [ "$p" = 0 ] && f=1	# ran nothing
	add "$p" "$f" "$s"
	printf '%-7s %s: %d passed, %d failed (%ds)\n' "$([ "$f" = 0 ] && echo ok || echo FAILED)" "$name" "$p" "$f" $((SECONDS - start))
	[ "$f" = 0 ] || grep -vE '^\[ (RUN|      OK)' "$LOGS/$name.log" | tail -n 40 | sed 's/^/    | /'
}
bc_() { local n; read -r n; echo $((${n:-0})); }
# script FILE [SECONDS]: a selftest in its own namespaces; the time limit is there for what hangs.
script() {
	local name; name=$(basename "$1" .sh)
	local p=0 f=0 s=0
	echo "-- $name"
	RESULT=$LOGS/$name.result timeout "${2:-900}" selftests/isolate.sh "$1" 2>&1 | tee "$LOGS/$name.log" | grep --line-buffered -v "^$name.sh:"
	if [ -s "$LOGS/$name.result" ]; then
		IFS=' ,' read -r p _ f _ s _ <"$LOGS/$name.result"
	else
		f=1; echo "FAILED  $name did not finish"
	fi
	add "$p" "$f" "$s"
}
finish() { echo; echo "$PASSED passed, $FAILED failed, $SKIPPED skipped"; [ "$FAILED" = 0 ]; exit; }

echo "== build"
one "builds with gcc without a warning" make -j"$(nproc)" all CC=gcc
one "builds with clang without a warning" make -j"$(nproc)" all CC=clang BUILD="$BUILD/clang"
one "unit tests build with ASan and UBSan" make -j"$(nproc)" unit
[ "$FAILED" = 0 ] || finish
[ "${1:-}" = unit ] || one "root tests and fuzzers build" make -j"$(nproc)" rootprogs fuzzers
echo "== unit tests (no root needed)"
for t in tests/test_*.c; do n=$(basename "$t" .c); cmocka "$n" "$BUILD/tests/$n"; done
[ "${1:-}" = unit ] && finish
echo "== fuzzing, $FUZZ_SECONDS s each"
for t in tests/fuzz_*.c; do
	n=$(basename "$t" .c)
	one "$n finds nothing" "$BUILD/tests/$n" -max_total_time="$FUZZ_SECONDS" -artifact_prefix="$LOGS/" -print_final_stats=1
done
[ "$(id -u)" = 0 ] || { echo "selftests need root: sudo make check"; FAILED=$((FAILED + 1)); finish; }
echo "== XDP program and uplink (root)"
for t in prog_verdicts prog_ports uplink_veth uplink_features uplink_tags uplink_host uplink_settings offload_corpus; do cmocka $t "$BUILD/selftests/$t"; done
echo "== documents"
one "man pages are clean" mandoc -Tlint -Werror doc/viaduct.8 doc/viaduct-guest.1
echo "== selftests with real front-ends (root)"
one "guest kernel and initramfs" selftests/vm-images.sh
one "install and uninstall layout" selftests/install.sh
for t in life protocol commands guest steering nic links dpdk mesh vlan guard many overload learning takeover uplink; do script selftests/$t.sh; done
script selftests/matrix.sh 2400	# one test per row, many with a machine to boot; the table comes last
for t in qemu qemu-new links_vm uplink_vm reconnect migration takeover_vm nested; do script selftests/$t.sh; done
finish
