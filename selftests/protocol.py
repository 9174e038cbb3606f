#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""protocol.py --list: the tests, with the number of ports and the port keys they want. protocol.py NAME: runs one.

Beside what the test itself looks at, each must leave the bridge alive and without anything of the guest's.
"""
import importlib
import os
import sys
import traceback

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
MODULES = ("protocol_rings", "protocol_messages", "protocol_device", "protocol_memory", "protocol_migration",
           "protocol_pairs", "protocol_uplink")


def tests():
    for module in MODULES:
        for name, test in vars(importlib.import_module(module)).items():
            if name.startswith("test_"):
                yield name, test


def run(test):
    import protocol_scene as scene
    before = scene.Baseline()
    ended = True
    try:
        test()
    except scene.Skip as reason:
        with open(scene.WORK + "/skipped", "w") as f:
            f.write(str(reason))
        return 77
    except Exception:  # what is left open is closed with this process
        traceback.print_exc()
        ended = False
    if not scene.viaduct.alive():
        print("viaduct is dead", file=sys.stderr)
        return 1
    if ended:
        before.check()
        scene.viaduct.end()
    return 0 if ended else 1


if sys.argv[1] == "--list":
    for name, test in tests():
        print(name, getattr(test, "ports", 0), getattr(test, "standby", "-"), getattr(test, "port", ""))
else:
    sys.exit(run(dict(tests())[sys.argv[1]]))
