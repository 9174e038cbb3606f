#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""qmp.py SOCKET STEP...: do one step after the other over QMP; print what the last command returned.

A step is "COMMAND [ARGUMENTS-AS-JSON]", or "until EVENT [STATUS...]": wait for an event, with one of these in its status.
"""
import json
import socket
import sys


class Qmp:
    def __init__(self, path):
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(90)
        s.connect(path)
        self.file = s.makefile("rw")
        self.events = []
        self.file.readline()
        self.execute("qmp_capabilities")

    def read(self):
        line = self.file.readline()
        if not line:
            sys.exit("qmp: the machine is gone")
        message = json.loads(line)
        if "event" in message:
            self.events.append(message)
        return message

    def execute(self, command, arguments="{}"):
        self.file.write(json.dumps({"execute": command, "arguments": json.loads(arguments)}) + "\n")
        self.file.flush()
        while True:
            answer = self.read()
            if "error" in answer:
                sys.exit(f"qmp: {command}: {answer['error']['desc']}")
            if "return" in answer:
                return answer["return"]

    def until(self, name, statuses):
        while True:
            while self.events:
                event = self.events.pop(0)
                if event["event"] == name and (not statuses or event.get("data", {}).get("status") in statuses):
                    return
            self.read()


qmp = Qmp(sys.argv[1])
result = {}
for step in sys.argv[2:]:
    verb, _, rest = step.partition(" ")
    if verb == "until":
        name, *statuses = rest.split()
        qmp.until(name, statuses)
    else:
        result = qmp.execute(verb, rest or "{}")
print(json.dumps(result))
