#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""qmp.py SOCKET COMMAND: run one QMP command without arguments; print what it returns."""
import json
import socket
import sys

s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
f = s.makefile("rw")
f.readline()
for command in ("qmp_capabilities", sys.argv[2]):
    f.write(json.dumps({"execute": command}) + "\n")
    f.flush()
    while True:
        answer = json.loads(f.readline())
        if "error" in answer:
            sys.exit(answer["error"]["desc"])
        if "return" in answer:
            break
print(json.dumps(answer["return"]))
