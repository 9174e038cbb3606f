#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""same_pages.py FILE FILE: compare the memory of two machines page by page; print how many there are and which differ."""
import mmap
import sys

PAGE, STEP = 4096, 1 << 20


def open_map(path):
    with open(path, "rb") as f:
        return mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ)


a, b = map(open_map, sys.argv[1:])
if len(a) != len(b):
    sys.exit(f"{len(a)} and {len(b)} bytes")
zero, differ, used = bytes(PAGE), [], 0
for step in range(0, len(a), STEP):
    one, other = a[step:step + STEP], b[step:step + STEP]
    for at in range(0, len(one), PAGE):
        page = one[at:at + PAGE]
        used += page != zero
        if page != other[at:at + PAGE]:
            differ.append(step + at)
print(f"{len(a) // PAGE} pages, {used} of them used, {len(differ)} differ", *(f"{d:#x}" for d in differ[:20]))
sys.exit(len(differ) > 0)
