#!/usr/bin/env python3
"""Holds calls that have one right place against it: each is allowed in the files named, and forbidden in all others."""
import pathlib
import re
import sys

# An octal mode that gives the group or others any right.
OPEN_MODE = r"\b0[0-7]?[0-7](?!00\b)[0-7]{2}\b"
# What is searched for, where it may stand, and what to use in its place.
RULES = [
    (r"\.dump\(", {"src/base/json.cpp"}, "dump_json(), which does not throw on bytes that are not UTF-8"),
    (rf"\b(open_file|make_directories|write_file_atomically|open|mkdir)\([^;]*{OPEN_MODE}", set(), "the default mode: what is written is its owner's alone"),
    (rf"chmod\([^;]*{OPEN_MODE}", set(), "a mode without rights of others"),
]
for rule, sample in zip(RULES, ("x.dump(2)", "open_file(path, O_CREAT, 0644)", "fchmod(fd, 0444)")):
    assert re.search(rule[0], sample), rule  # a rule that finds nothing is none

root = pathlib.Path(sys.argv[1])
files = sorted(path for folder in ("src", "include") for path in (root / folder).rglob("*.[ch]pp"))
bad = []
for path in files:
    name = str(path.relative_to(root))
    text = re.sub(r"//[^\n]*", "", path.read_text())
    for pattern, places, instead in RULES:
        if name in places:
            continue
        for match in re.finditer(pattern, text):
            line = text.count("\n", 0, match.start()) + 1
            bad.append(f"{name}:{line}: '{' '.join(match[0].split())}': use {instead}")
print(f"{len(RULES)} rules, {len(files)} files, {len(bad)} calls against them")
sys.exit("\n".join(bad) if bad or not files else 0)
