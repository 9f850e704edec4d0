#!/usr/bin/env python3
"""What the offline tool costs a server that it looks at: verify, log tail -f and backup beside a server under load.

A client sets and gets random keys at a steady pace and keeps how late each answer was; in turns the tool runs and does not,
in one run, so that both see the same machine. In the same way redis-benchmark measures how many writes a second there are.

HOLDFAST_SERVER, HOLDFAST_TOOL: the binaries. --keys, --seconds (of each turn), --turns, --rate; --prefix 'nice -n 19':
the tool runs as `nice -n 19 holdfast ...`; --full-speed: it does not step back; --only: one command.
"""

import argparse
import os
import shutil
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "system"))

from holdfast_testing import TOOL, Client, Workspace  # pylint: disable=wrong-import-position
from measuring import key_of, value_of  # pylint: disable=wrong-import-position
from paced_load import PacedLoad, percentile  # pylint: disable=wrong-import-position


COMMANDS = ("verify", "log tail -f", "backup")


class Tool:
    """One command, again and again until the turn is over."""

    def __init__(self, name, server, scratch, prefix, more):
        self.name, self.server, self.scratch, self.prefix, self.more = name, server, scratch, prefix, more
        self.stopping, self.process, self.bad, self.runs = False, None, 0, 0
        self.thread = threading.Thread(target=self.run)

    def command(self):
        if self.name == "verify":
            return [TOOL, "verify", self.server.directory]
        if self.name == "log tail -f":
            return [TOOL, "log", "tail", "-f", self.server.directory]
        shutil.rmtree(self.scratch, ignore_errors=True)
        return [TOOL, "backup", "--full", self.server.directory, self.scratch]

    def run(self):
        while not self.stopping:
            self.process = subprocess.Popen(self.prefix + self.command() + self.more, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            while self.process.poll() is None and not self.stopping:
                time.sleep(0.01)
            if self.process.poll() is None:
                self.process.terminate()
                self.process.wait()
            else:
                self.runs += 1
                self.bad += self.process.returncode != 0

    def __enter__(self):
        if self.name:
            self.thread.start()
        return self

    def __exit__(self, *_):
        self.stopping = True
        if self.name:
            self.thread.join()


def fill(port, keys):
    with Client(port, timeout=120) as client:
        for begin in range(0, keys, 1000):
            client.pipeline([("SET", key_of(i), value_of(i, 100)) for i in range(begin, min(begin + 1000, keys))])


def writes_a_second(port, keys, seconds):
    """Of 20 clients that each wait for an answer before the next command."""
    with subprocess.Popen(["redis-benchmark", "-p", str(port), "-c", "20", "-n", "100000000", "-r", str(keys), "-d", "100",
                           "-t", "set"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as load:
        try:
            with Client(port) as client:
                time.sleep(0.3)
                begin, before = time.monotonic(), int(client.info("stats")["total_commands_processed"])
                time.sleep(seconds)
                after = int(client.info("stats")["total_commands_processed"])
                return (after - before) / (time.monotonic() - begin)
        finally:
            load.terminate()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--keys", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--rate", type=int, default=100)
    parser.add_argument("--prefix", default="")
    parser.add_argument("--full-speed", action="store_true")
    parser.add_argument("--only", choices=COMMANDS, action="append")
    options = parser.parse_args()
    with Workspace() as workspace:
        server = workspace.server("server")
        server.start()
        fill(server.port, options.keys)
        scratch = os.path.join(workspace.path, "backup")
        prefix, more = options.prefix.split(), ["--full-speed"] if options.full_speed else []
        print(f"{options.keys} keys, {options.rate} commands a second, {options.turns} turns of {options.seconds} s each")
        for name in options.only or COMMANDS:
            late, rates, runs, bad = {"": [], name: []}, {"": [], name: []}, 0, 0
            spans = []
            with PacedLoad(server.port, options.keys, rate=options.rate) as load:
                for _ in range(options.turns):
                    for tool_name in ("", name):
                        with Tool(tool_name, server, scratch, prefix, more) as tool:
                            begin = time.monotonic()
                            time.sleep(options.seconds)
                            spans.append((tool_name, begin, time.monotonic()))
                        runs, bad = runs + tool.runs, bad + tool.bad
            for tool_name, begin, end in spans:
                late[tool_name] += load.late_between(begin, end)
            for _ in range(options.turns):
                for tool_name in ("", name):
                    with Tool(tool_name, server, scratch, prefix, more) as tool:
                        rates[tool_name].append(writes_a_second(server.port, options.keys, options.seconds))
                    runs, bad = runs + tool.runs, bad + tool.bad
            for tool_name in ("", name):
                ordered = sorted(late[tool_name])
                print(f"{tool_name or 'without':12}  p50 {percentile(ordered, 0.5) * 1e3:.2f} ms  "
                      f"p99 {percentile(ordered, 0.99) * 1e3:.2f} ms  max {ordered[-1] * 1e3:.1f} ms  "
                      f"{sum(rates[tool_name]) / options.turns:.0f} writes/s", flush=True)
            print(f"              {runs} whole runs of the tool, {bad} with findings or trouble", flush=True)


if __name__ == "__main__":
    main()
