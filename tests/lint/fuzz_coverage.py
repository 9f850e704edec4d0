#!/usr/bin/env python3
"""Every parser of bytes from disk or network, and every command, is under a fuzz target.

Parsers: each header of the modules that declares a function called Parse... or Decode... must be named in
fuzz/coverage.txt, a line each: the header, then the fuzz targets, or the tests with damaged bytes, that reach it. Other
headers may be named as well. A line whose header, target or test is gone fails, too. Commands: each name in the command
table is known to fuzz/commands.dict, or is left out by fuzz/commands_fuzz.cpp. Configuration: each directive is in
fuzz/config.dict.
"""

import os
import re
import sys

ROOT = os.environ.get("HOLDFAST_SOURCE") or os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
MODULES = ("storage", "wal", "replication", "net", "cli")
PARSER = re.compile(r"^[^/\n]*\b(?:Parse|Decode)\w*\(", re.M)
COMMAND = re.compile(r'\b(?:MakeCommand|MakeContainer|Row)\(\s*"([a-z_-]+)"')
DIRECTIVE = re.compile(r'\b(?:Number|Text|Flag|Choice|Bytes|Words|Refused|Enumeration)\(\s*"([a-z_-]+)"')


def files(folder, suffix):
    for base, _, names in os.walk(os.path.join(ROOT, folder)):
        for name in sorted(names):
            if name.endswith(suffix):
                yield os.path.relpath(os.path.join(base, name), ROOT)


def text(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as file:
        return file.read()


def parsers():
    return {path for folder in MODULES for path in files(folder, ".h") if PARSER.search(text(path))}


def command_names():
    names = set()
    for path in files("net/commands", ".cpp"):
        names.update(COMMAND.findall(text(path)))
    return names


def check():
    problems = []
    targets = {os.path.basename(path)[:-len(".cpp")] for path in files("fuzz", "_fuzz.cpp")}
    listed = {}
    for line in text("fuzz/coverage.txt").splitlines():
        words = line.split("#")[0].split()
        if words:
            listed[words[0]] = words[1:]
    wanted = parsers()
    for path in sorted(wanted - set(listed)):
        problems.append(f"{path} declares a parser: name it in fuzz/coverage.txt with the targets that reach it")
    for path, covers in listed.items():
        if not os.path.exists(os.path.join(ROOT, path)):
            problems.append(f"fuzz/coverage.txt: there is no {path} any more")
        for target in covers:
            if target not in targets and not os.path.exists(os.path.join(ROOT, target)):
                problems.append(f"fuzz/coverage.txt: {path}: there is no target or test {target}")
        if not covers:
            problems.append(f"fuzz/coverage.txt: {path} has no target")
    known = set(re.findall(r'"([a-z_-]+)"', text("fuzz/commands.dict").lower()))
    left_out = set(re.findall(r'"([a-z]+)"', text("fuzz/commands_fuzz.cpp").split("kLeftOut[] = {")[1].split("}")[0]))
    commands = command_names()
    if len(commands) < 150:
        problems.append(f"only {len(commands)} commands were found in net/commands: has the table's form changed?")
    for name in sorted(commands - known - left_out):
        problems.append(f"the command {name} is not in fuzz/commands.dict")
    directives = {name for path in files("net", ".cpp") if "/config" in path for name in DIRECTIVE.findall(text(path))}
    if len(directives) < 150:
        problems.append(f"only {len(directives)} directives were found in net/config*: has the table's form changed?")
    known = set(re.findall(r'"([a-z_-]+) "', text("fuzz/config.dict")))
    for name in sorted(directives - known):
        problems.append(f"the directive {name} is not in fuzz/config.dict")
    return problems


if __name__ == "__main__":
    found = check()
    print("\n".join(found) or "every parser and every command has a fuzz target")
    sys.exit(1 if found else 0)
