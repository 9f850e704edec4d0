#!/usr/bin/env python3
"""The offline tool's progress bar.

  terminal  drawn on standard error where standard output is a terminal or a file, wiped at the end, never in the output
  results   none where results are printed on the same terminal meanwhile
  pipe      none where standard error is no terminal, or standard output is a pipe

A bar is drawn half a second after the work began. So the tool is frozen once its output file is there, for longer.
"""

import functools
import os
import pty
import signal
import subprocess
import threading
import time

from holdfast_testing import TOOL, Workspace, check, freeze, run_tests

KEYS = 150_000
FROZEN_SECONDS = 0.8
TRIES = 6
WIPE = b"\r\x1b[K"


class Terminal:
    """A pseudo terminal that is always read; `side` is what the tool gets."""

    def __init__(self):
        self.main, self.side = pty.openpty()
        self.shown = bytearray()
        self.reader = threading.Thread(target=self.read)
        self.reader.start()

    def read(self):
        while True:
            try:
                piece = os.read(self.main, 65536)
            except OSError:  # the last process has closed it
                return
            if not piece:
                return
            self.shown += piece

    def end(self):
        os.close(self.side)
        self.reader.join(60)
        check(not self.reader.is_alive(), "the terminal is still open")
        os.close(self.main)
        return bytes(self.shown)


def make_snapshot(space):
    aof, snapshot = os.path.join(space, "a.aof"), os.path.join(space, "a.hfs")
    with open(aof, "wb") as file:
        file.write(b"*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n")
        for i in range(KEYS):
            file.write(b"*3\r\n$3\r\nSET\r\n$10\r\n%010d\r\n$100\r\n%0100d\r\n" % (i, i))
    subprocess.run([TOOL, "convert", aof, snapshot], check=True, capture_output=True, timeout=240)
    return snapshot


def convert(snapshot, output, out, err):
    """To a file; frozen for a while once that was begun."""
    if os.path.exists(output):
        os.remove(output)
    with subprocess.Popen([TOOL, "convert", snapshot, output, "--to", "json"], stdin=subprocess.DEVNULL, stdout=out,
                          stderr=err) as tool:
        deadline = time.monotonic() + 60
        while not os.path.exists(output) and tool.poll() is None and time.monotonic() < deadline:
            time.sleep(0.0005)
        if tool.poll() is None:
            freeze(tool)
            time.sleep(FROZEN_SECONDS)
            tool.send_signal(signal.SIGCONT)
        check(tool.wait(120) == 0, "convert failed")


def check_bar(shown):
    check(b"\rconverting [" in shown and b"%" in shown, f"no bar: {shown[:300]!r}")
    bar_ends = shown.rindex(b"converting [")
    check(WIPE in shown[bar_ends:], f"the bar is not wiped: {shown[-300:]!r}")
    check(b"\n" not in shown[shown.index(b"converting ["):bar_ends], "the bar is redrawn in its line")


def until_drawn(attempt):
    """What was shown: a tool that was through before it could be frozen is started again."""
    for _ in range(TRIES):
        shown = attempt()
        if b"[" in shown:
            return shown
    return shown


def test_terminal(snapshot, space):
    output = os.path.join(space, "out.json")

    def both_on_terminals():
        out, err = Terminal(), Terminal()
        convert(snapshot, output, out.side, err.side)
        printed = out.end()
        check(b"\x1b" not in printed and b"converting [" not in printed, f"a bar in the output: {printed!r}")
        return err.end()

    def output_in_a_file():
        path = os.path.join(space, "stdout")
        err = Terminal()
        with open(path, "wb") as out:
            convert(snapshot, output, out, err.side)
        shown = err.end()
        with open(path, "rb") as out:
            printed = out.read()
        check(b"\x1b" not in printed and b"converting [" not in printed, f"a bar in the output: {printed!r}")
        return shown

    def one_terminal():
        terminal = Terminal()
        convert(snapshot, output, terminal.side, terminal.side)
        return terminal.end()

    for attempt in both_on_terminals, output_in_a_file, one_terminal:
        shown = until_drawn(attempt)
        check_bar(shown)
    # What is printed at the end begins on a line that was wiped.
    behind = shown[shown.rindex(WIPE) + len(WIPE):]
    check(b"[" not in behind, f"remains of the bar: {behind!r}")
    with open(output, "rb") as file:
        lines = file.read().splitlines()
    check(len(lines) == KEYS and all(line.startswith(b"{") for line in lines), "the file holds something else than keys")


def test_results(snapshot, _):
    for command in (["keys", snapshot], ["scan", snapshot, "--json"], ["convert", snapshot, "-", "--to", "json"]):
        terminal = Terminal()
        with subprocess.Popen([TOOL, *command], stdin=subprocess.DEVNULL, stdout=terminal.side,
                              stderr=terminal.side) as tool:
            deadline = time.monotonic() + 60
            while not terminal.shown and tool.poll() is None and time.monotonic() < deadline:
                time.sleep(0.0005)
            if tool.poll() is None:
                freeze(tool)
                time.sleep(FROZEN_SECONDS)
                tool.send_signal(signal.SIGCONT)
            check(tool.wait(120) == 0, f"{command} failed")
        shown = terminal.end()
        check(b"\x1b" not in shown, f"{command}: a bar between the results")
        check(len(shown.splitlines()) >= KEYS, f"{command}: {len(shown.splitlines())} lines")


def test_pipe(snapshot, space):
    output = os.path.join(space, "out.json")
    path = os.path.join(space, "stderr")
    with open(path, "wb") as err:
        terminal = Terminal()
        convert(snapshot, output, terminal.side, err)
        check(b"\x1b" not in terminal.end(), "a bar in standard output")
    with open(path, "rb") as err:
        check(err.read() == b"", "standard error, a file, is not empty")
    terminal = Terminal()
    convert(snapshot, output, subprocess.DEVNULL, terminal.side)
    check(terminal.end() == b"", "a bar although the output is neither a terminal nor a file")


def main():
    with Workspace() as workspace:
        snapshot = make_snapshot(workspace.path)
        run_tests({name: functools.partial(test, snapshot, workspace.path) for name, test in globals().items()
                   if name.startswith("test_")})
    print("ok")


if __name__ == "__main__":
    main()
