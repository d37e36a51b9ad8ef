#!/usr/bin/env python3
"""Holds every #include of the modules, and what they are linked with, against the table of allowed dependencies in ARCHITECTURE.md."""
import pathlib
import re
import sys

root = pathlib.Path(sys.argv[1])
rows = re.findall(r"^\| `([a-z, `]+)` \|[^|]*\| ([^|]+) \|$", (root / "ARCHITECTURE.md").read_text(), re.M)
allowed = {}
order = []
for names, uses in rows:
    for name in re.findall(r"[a-z]+", names):
        if uses.strip() == "all above":
            allowed[name] = set(order)
        else:
            allowed[name] = set(re.findall(r"`([a-z]+)`", uses))
        order.append(name)
if len(allowed) < 5:
    sys.exit("the module table of ARCHITECTURE.md was not found")

bad, seen = [], 0
linked = {}
for name, rest in re.findall(r"^lookback_module\((\w+)([^)]*)\)", (root / "src/CMakeLists.txt").read_text(), re.M):
    uses = re.search(r"\bUSES((?: [a-z]+)*)", rest)
    linked[name] = set(uses[1].split()) if uses else set()
for name in sorted(allowed.keys() | linked.keys()):
    if allowed.get(name) != linked.get(name):
        bad.append(f"module {name}: ARCHITECTURE.md says {allowed.get(name)}, src/CMakeLists.txt {linked.get(name)}")
for base in (root / "src", root / "include" / "lookback"):
    for path in sorted(base.rglob("*.[ch]pp")):
        parts = path.relative_to(base).parts
        if len(parts) < 2:
            continue  # src/main.cpp only starts the command line
        module = parts[0]
        if module not in allowed:
            bad.append(f"{path}: module {module} is not in the table")
            continue
        for line in path.read_text().splitlines():
            match = re.match(r'\s*#include [<"](?:lookback/)?([a-z_]+)/[a-z_0-9/]+\.hpp[>"]', line)
            if not match or (match[1] not in allowed and f"lookback/{match[1]}/" not in line):
                continue
            seen += 1
            private = "lookback/" not in line
            if match[1] != module and (private or match[1] not in allowed[module]):
                bad.append(f"{path}: {line.strip()} (may use: {', '.join(sorted(allowed[module])) or 'nothing'})")
print(f"{seen} includes between or inside modules, {len(bad)} against the table")
sys.exit("\n".join(bad) if bad or not seen else 0)
