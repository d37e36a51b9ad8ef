#!/usr/bin/env python3
"""Holds the man pages against --help of the binary: the same commands, arguments and options with the same values. Holds the page of
the API against the tables of routes in the code.

usage: check_man.py BINARY MAN-DIRECTORY
"""
import os
import pathlib
import re
import shutil
import subprocess
import sys

PAGES = {"capture": "lookback-capture.1", "hub": "lookback-hub.1", "snapshot": "lookback-snapshot.1"}


def help_of(binary, words):
    # A terminal's width or a user's settings must not matter.
    environment = {"PATH": os.environ["PATH"], "TERM": "dumb", "HOME": "/nonexistent"}
    done = subprocess.run([binary, *words, "--help"], capture_output=True, text=True, env=environment, check=True)
    return done.stdout


def rows(text, heading):
    """The left columns below a heading of the help."""
    match = re.search(rf"^{heading}:\n((?:  .*\n)+)", text, re.M)
    if not match:
        return []
    lines = [line for line in match[1].splitlines() if re.match(r"  (\S|    --)", line)]
    return [re.split(r"(?<=\S) {2,}", line.strip(), maxsplit=1)[0] for line in lines]


def tree(binary, words=()):
    """Every command below: {words: (arguments, options)}."""
    text = help_of(binary, words)
    found = {words: (set(rows(text, "Arguments")), set(rows(text, "Options")) - {"-h, --help"})}
    for name in rows(text, "Commands"):
        found.update(tree(binary, (*words, name)))
    return found


def plain(roff):
    return re.sub(r"\\f[BIRP]|\\&", "", roff).replace("\\-", "-").replace("\\(dq", '"').strip()


def sections(path):
    """What a page describes: {"lookback nodes" or a heading: tags of its paragraphs}."""
    found, current, tag = {}, None, False
    for line in path.read_text().splitlines():
        if match := re.match(r'\.S[HS] (.*)', line):
            current = plain(match[1]).strip('"')
            found.setdefault(current, set())
        elif line == ".TP":
            tag = True
        elif tag:
            found[current].add(plain(line))
            tag = False
    return found


def gap_reasons(directory):
    """What the page of the archive format and the table of the code do not have in common."""
    table = (directory.parent / "include/lookback/base/gap_reason.hpp").read_text()
    names = set(re.findall(r'GapReasonName\{GapReason::\w+, "([^"]+)"\}', table))
    page = (directory / "lookback-archive.5").read_text()
    listed = re.search(r"\.Cm reason\nis one of:\n(.*?)\n\.El\n", page, re.S)
    described = set(re.findall(r"^\.It Dq (.+)$", listed[1], re.M)) if listed else set()
    return sorted(names ^ described) if names else ["no reason at all"]


def routes_of_code(files):
    """{(method, path): (role, summary)} of the tables in some source files."""
    row = re.compile(r'\{"([A-Z]+)", "(/[^"]*)", Role::(\w+), RunsOn::\w+, "([^"]+)"')
    return {(match[1], match[2]): (match[3], match[4]) for file in files for match in row.finditer(re.sub(r"\n\s*", " ", file.read_text()))}


def routes_of_page(text):
    """The same of a section of the page."""
    row = re.compile(r"^\.Ss ([A-Z]+) (/\S*)\nRole: (\w+)\.\n(.*)$", re.M)
    return {(match[1], match[2]): (match[3], match[4]) for match in row.finditer(text)}


def api_routes(directory):
    """Where the page of the API and the tables of routes differ."""
    source = directory.parent / "src"
    page = (directory / "lookback-api.5").read_text()
    section = {name: body for name, body in re.findall(r"^\.Sh (.+)\n((?:(?!\.Sh ).*\n)*)", page, re.M)}
    wrong = []
    for name, files in (("HUB", sorted(source.glob("hub/api_*.cpp"))), ("CAPTURE DAEMON", [source / "node/api.cpp"])):
        code, described = routes_of_code(files), routes_of_page(section[name])
        if not code:
            wrong.append(f"{name}: no table of routes was found")
        for route in sorted(code.keys() | described.keys()):
            if code.get(route) != described.get(route):
                wrong.append(f"{name}: {' '.join(route)}: the code has {code.get(route)}, the page {described.get(route)}")
    return wrong


def main(binary, directory):
    wrong = [f"lookback-api.5: {line}" for line in api_routes(directory)]
    wrong += [f"lookback-archive.5: the gap reason '{name}' stands here or in gap_reason.hpp only" for name in gap_reasons(directory)]
    pages = {path.name: sections(path) for path in sorted(directory.glob("lookback*.1"))}
    commands = tree(binary)
    for words, (arguments, options) in commands.items():
        name = " ".join(("lookback", *words))
        page = PAGES.get(words[0] if words else "", "lookback.1")
        if not options and not arguments and any(other[:len(words)] == words != other for other in commands):
            continue  # a group that only has commands below it
        described = pages[page].get(name)
        if described is None:
            wrong.append(f"{page}: no section '.SS {name}'")
            continue
        common = pages[page].get("COMMON OPTIONS", set())
        described = described - {"-h, --help"}
        if "--hub URL" in options and "--hub URL" not in described:
            described = described | common
        for missing in sorted((arguments | options) - described):
            wrong.append(f"{page}: {name}: '{missing}' of --help is missing")
        for extra in sorted(described - arguments - options):
            wrong.append(f"{page}: {name}: '{extra}' is not in --help")
    for page in sorted(directory.glob("lookback*.5")):
        done = subprocess.run(["groff", "-mdoc", "-ww", "-Tutf8", "-z", page], capture_output=True, text=True)
        if done.returncode != 0 or done.stderr:
            wrong.append(f"{page.name}: groff: {done.stderr.strip()}")
    for page, found in pages.items():
        for heading in found:
            if heading.startswith("lookback ") and tuple(heading.split()[1:]) not in commands:
                wrong.append(f"{page}: there is no command '{heading}'")
        for tool in (["groff", "-man", "-ww", "-Tutf8", "-z"], ["man", "--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z"]):
            if shutil.which(tool[0]):
                done = subprocess.run([*tool, str(directory / page)], capture_output=True, text=True)
                if done.returncode != 0 or done.stderr:
                    wrong.append(f"{page}: {tool[0]}: {done.stderr.strip()}")
    print("\n".join(wrong) or f"{len(commands)} commands are as {len(pages)} man pages say")
    return 1 if wrong else 0


sys.exit(main(sys.argv[1], pathlib.Path(sys.argv[2])))
