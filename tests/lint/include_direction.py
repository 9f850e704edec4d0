#!/usr/bin/env python3
"""Checks what the sources include: modules look in one direction only, and each outside library has its wrapper.

    storage <- wal <- replication <- net <- cli

A file includes its own folder and folders to its left. tests/, fuzz/ and benchmarks/ include everything and are
included by nothing else. Run by ctest; proves itself on bad snippets first. Exit code 1 lists every offence.
"""
import os
import re
import sys

MODULES = ["storage", "wal", "replication", "net", "cli"]
AROUND = ["tests", "fuzz", "benchmarks"]

# Header -> (how many files may include it, the places it may be in, what to use instead).
WRAPPED = {
    r"lmdb\.h": (1, ["storage/"], "storage/lmdb_env.h"),
    r"zstd(_errors)?\.h": (1, ["storage/"], "the zstd wrapper in storage/"),
    r"xxh(ash|3)\.h": (1, ["storage/base/hash.cpp"], "storage/base/hash.h"),
    r"asio(\.hpp|/.*)": (None, ["net/", "cli/"], "a seam: only net/ and cli/ know asio"),
    r"spdlog/.*": (1, ["storage/base/diag.cpp"], "storage/base/diag.h"),
}

# Headers of the system whose directory is called like a module of ours.
SYSTEM_HEADERS = {"net/if.h"}

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')


def module_of(path):
    return path.split("/", 1)[0]


def check(files):
    """files: {path from the root: text}. Returns offences, sorted."""
    offences = []
    wrappers = {header: {} for header in WRAPPED}
    for path, text in files.items():
        here = module_of(path)
        for number, line in enumerate(text.splitlines(), 1):
            match = INCLUDE.match(line)
            if not match:
                continue
            quote, target = match.groups()
            where = f"{path}:{number}"
            there = module_of(target)
            if quote == '"':
                if there not in MODULES + AROUND:
                    offences.append(f'{where}: "{target}" is not a path from the root (own headers: "module/file.h")')
                elif here in MODULES and there in AROUND:
                    offences.append(f"{where}: {here}/ must not include {there}/")
                elif here in MODULES and MODULES.index(there) > MODULES.index(here):
                    offences.append(f"{where}: {here}/ must not include {there}/, which stands to its right")
            elif there in MODULES and "/" in target and target not in SYSTEM_HEADERS:
                offences.append(f"{where}: own header <{target}> in angle brackets")
            for header, (_, places, instead) in WRAPPED.items():
                if not re.fullmatch(header, target):
                    continue
                # Tests and benchmarks may speak to a socket, but use the product's wrappers for everything else.
                if here in AROUND and header.startswith("asio"):
                    continue
                if not any(path.startswith(place) for place in places):
                    offences.append(f"{where}: <{target}> is not for this folder; use {instead}")
                wrappers[header].setdefault(path.rsplit(".", 1)[0], where)
    for header, (limit, _, instead) in WRAPPED.items():
        if limit is not None and len(wrappers[header]) > limit:
            for where in sorted(wrappers[header].values()):
                offences.append(f"{where}: <{header}> has more than one wrapper; use {instead}")
    return sorted(offences)


def self_test():
    bad = {
        "to the right": {"storage/a.cpp": '#include "wal/b.h"\n'},
        "far right": {"wal/a.h": '#include "cli/b.h"\n'},
        "tests from a module": {"net/a.cpp": '#include "tests/support/b.h"\n'},
        "not from the root": {"net/a.cpp": '#include "b.h"\n'},
        "angle brackets": {"net/a.cpp": "#include <net/b.h>\n"},
        "lmdb outside storage": {"wal/a.cpp": "#include <lmdb.h>\n"},
        "two lmdb wrappers": {"storage/a.cpp": "#include <lmdb.h>\n", "storage/b.cpp": "#include <lmdb.h>\n"},
        "xxhash elsewhere": {"storage/a.cpp": "# include <xxhash.h>\n"},
        "asio in replication": {"replication/a.cpp": "#include <asio/awaitable.hpp>\n"},
        "zstd in tests": {"tests/a_test.cpp": "#include <zstd.h>\n"},
    }
    good = {
        "storage/base/hash.cpp": '#include "storage/base/hash.h"\n#include <xxhash.h>\n#include <string>\n',
        "storage/lmdb_env.cpp": "#include <lmdb.h>\n",
        "storage/lmdb_env.h": "#include <lmdb.h>\n",
        "net/server.cpp": '#include <asio.hpp>\n#include "wal/log.h"\n',
        "tests/net/server_test.cpp": '#include "net/server.h"\n#include "tests/support/temp_directory.h"\n',
        "wal/log.cpp": '#include "wal/log.h"\n// #include "cli/x.h"\n',
    }
    failures = [name for name, files in bad.items() if not check(files)]
    failures += [f"good sample refused: {offence}" for offence in check(good)]
    if failures:
        sys.exit("self test failed: " + ", ".join(failures))


def main():
    self_test()
    root = os.environ.get("HOLDFAST_SOURCE") or os.path.dirname(os.path.dirname(os.path.dirname(
        os.path.abspath(__file__))))
    files = {}
    for folder in MODULES + AROUND:
        for directory, _, names in os.walk(os.path.join(root, folder)):
            for name in names:
                if name.endswith((".h", ".cpp")):
                    path = os.path.join(directory, name)
                    with open(path, encoding="utf-8") as source:
                        files[os.path.relpath(path, root)] = source.read()
    offences = check(files)
    for offence in offences:
        print(offence)
    print(f"{len(files)} files, {len(offences)} offences")
    sys.exit(1 if offences or not files else 0)


main()
