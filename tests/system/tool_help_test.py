#!/usr/bin/env python3
"""`--help` of the offline tool: every command explains each of its options, gives an example of itself, and docs/tool.md
and the help name the same options."""

import os
import re
import subprocess

from holdfast_testing import TOOL, check, run_tests

DOCS = os.path.join(os.environ.get("HOLDFAST_SOURCE", "."), "docs/tool.md")
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*")
TIMES = "    benchmarks/tool_beside_server.py"  # what follows are commands of other programs


def help_of(*command):
    done = subprocess.run([TOOL, *command, "--help"], capture_output=True, text=True, check=False, timeout=60)
    check(done.returncode == 0 and done.stderr == "", f"{command} --help: {done.returncode} {done.stderr}")
    return done.stdout


def commands(*command):
    """Every command with its help, those of groups of commands (log, snapshot) too."""
    text = help_of(*command)
    _, found, below = text.partition("\nSubcommands:\n")
    if not found:
        yield command, text
        return
    for name in re.findall(r"(?m)^  (\w+) ", below):
        yield from commands(*command, name)


def test_every_command_explains_its_options_and_gives_an_example():
    seen = 0
    for command, text in commands():
        name = " ".join(command)
        check(re.search(r"\nExamples:\n(  holdfast .*\n?)+", text), f"{name}: no example")
        for example in re.findall(r"(?m)^  holdfast (.*)", text):
            check(example.startswith(name + " "), f"{name} --help has an example of another command: {example}")
        for option, explained in re.findall(r"(?m)^  (-\S.*?)(?:  +|\n +)(\S.*)?$", text):
            check(len(explained) > 8, f"{name} {option}: not explained")
        seen += 1
    check(seen >= 19, f"{seen} commands")


def test_help_and_docs_name_the_same_options():
    with open(DOCS, encoding="utf-8") as file:
        described = set(OPTION.findall(re.sub("holdfast-server .*", "", file.read().partition(TIMES)[0])))
    helped = set(OPTION.findall(help_of())).union(*(OPTION.findall(text) for _, text in commands()))
    check(not described - helped, f"in docs/tool.md, and in no help: {described - helped}")
    check(not helped - described, f"in the help, and not in docs/tool.md: {helped - described}")


def test_a_word_that_is_no_command_is_named():
    for words in (["bogus"], ["log", "bogus"], ["bogus", "--json"]):
        done = subprocess.run([TOOL, *words], capture_output=True, text=True, check=False, timeout=60)
        check(done.returncode == 2 and "There is no command 'bogus'" in done.stderr, f"{words}: {done.returncode} {done.stderr}")
    for words in ([], ["log"]):
        done = subprocess.run([TOOL, *words], capture_output=True, text=True, check=False, timeout=60)
        check(done.returncode == 2 and "A subcommand is required" in done.stderr, f"{words}: {done.returncode} {done.stderr}")


if __name__ == "__main__":
    run_tests(globals())
