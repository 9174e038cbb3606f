#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""blob.py send|receive PORT FILE: one TCP connection that carries a file."""
import socket
import sys

verb, port, path = sys.argv[1:]
server = socket.socket()
server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
server.bind(("", int(port)))
server.listen(1)
peer, _ = server.accept()
peer.settimeout(30)
if verb == "send":
    with open(path, "rb") as f:
        peer.sendall(f.read())
else:
    with open(path, "wb") as f:
        while True:
            part = peer.recv(65536)
            if not part:
                break
            f.write(part)
peer.close()
