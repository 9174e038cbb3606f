#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# make install puts everything where it belongs under DESTDIR and PREFIX.
set -e
cd "$(dirname "$0")/.."
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
make install DESTDIR="$dir" PREFIX=/opt/v
for f in sbin/viaduct bin/viaduct-guest share/man/man8/viaduct.8 share/man/man1/viaduct-guest.1; do
	[ -s "$dir/opt/v/$f" ] || { echo "missing: $f"; exit 1; }
done
"$dir/opt/v/sbin/viaduct" --version
