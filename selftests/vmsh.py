#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""vmsh.py SOCKET COMMAND: run a command in a test VM over its serial port; print its output, exit with its code."""
import re
import socket
import sys

s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
s.sendall(sys.argv[2].replace("\n", ";").encode() + b"\n")
seen = b""
while True:
    part = s.recv(65536)
    if not part:
        sys.exit("vmsh: the machine is gone")
    seen += part
    end = re.search(rb"@@RC (\d+)\r?\n", seen)
    if end:
        sys.stdout.write(seen[: end.start()].decode(errors="replace"))
        sys.exit(int(end.group(1)))
