#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""vmsh.py SOCKET COMMAND: run a command in a test VM over its serial port; print its output, exit with its code."""
import os
import re
import socket
import sys

s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
# What a predecessor asked, who did not wait for the answer, is answered first.
mark = os.urandom(8).hex().encode()
s.sendall(b"echo @@FOR " + mark + b"\n" + sys.argv[2].replace("\n", ";").encode() + b"\n")
seen = b""
while True:
    part = s.recv(65536)
    if not part:
        sys.exit("vmsh: the machine is gone")
    seen += part
    ours = re.search(rb"@@FOR " + mark + rb"\r?\n@@RC 0\r?\n", seen)
    end = ours and re.compile(rb"@@RC (\d+)\r?\n").search(seen, ours.end())
    if end:
        sys.stdout.write(seen[ours.end() : end.start()].decode(errors="replace"))
        sys.exit(int(end.group(1)))
