#!/usr/bin/env python3
"""LATENCY: what is recorded, HISTORY, LATEST, RESET, and the graph, which both servers draw as the model here does. What
DOCTOR says is in our own words but for the figures.

Exit code 77 (skipped) when there is no redis-server 7.0.
"""

import re
import sys

from holdfast_testing import ReplyError, Workspace, check, has_redis_7_0, run_tests, wait_for


def age(seconds):
    if seconds < 60:
        return f"{seconds}s"
    if seconds < 3600:
        return f"{seconds // 60}m"
    return f"{seconds // 3600}h" if seconds < 86400 else f"{seconds // 86400}d"


def drawn(event, history, highest, now):
    """The graph of these samples, at most 80 of them, at this time."""
    values = [ms for _, ms in history]
    low, high = min(values), max(values)
    lines = [f"{event} - high {high} ms, low {low} ms (all time high {highest} ms)", "-" * 80]
    for row in range(4):
        line = ""
        for value in values:
            part = min((value - low) * 12 // max(high - low, 1), 11) - (3 - row) * 3
            line += " " if part < 0 else "_o#"[part] if part < 3 else "|"
        lines.append(line)
    lines.append(" " * len(values))
    ages = [age(now - time) for time, _ in history]
    for at in range(max(map(len, ages))):
        lines.append("".join(text[at] if at < len(text) else " " for text in ages))
    return "\n".join(lines) + "\n"


def one_server(client):
    check(client.ask("LATENCY", "GRAPH", "command") == ReplyError("ERR No samples available for event 'command'"),
          "no graph without samples")
    check(client.call("LATENCY", "HISTORY", "command") == [], "no history without samples")
    client.call("CONFIG", "SET", "latency-monitor-threshold", 20)
    slept = (30, 25, 90, 60)
    for ms in slept:
        client.call("DEBUG", "SLEEP", f"{ms / 1000}")
        recorded = lambda: client.call("LATENCY", "HISTORY", "command")  # noqa: E731
        # One sample a second: the next sleep falls into another one.
        second = recorded()[-1][0]
        wait_for(lambda: int(client.call("TIME")[0]) > second, 10, "the next second")
    # From here on nothing is recorded: a busy machine makes other commands slow, too.
    client.call("CONFIG", "SET", "latency-monitor-threshold", 0)
    history = client.call("LATENCY", "HISTORY", "command")
    check(len(history) >= len(slept) and max(ms for _, ms in history) >= max(slept), f"a sample for each: {history}")
    latest = {entry[0]: entry[1:] for entry in client.call("LATENCY", "LATEST")}[b"command"]
    check(latest == history[-1] + [max(ms for _, ms in history)], f"LATEST {latest} after {history}")

    # The second may change between the questions, and time() may be late by some milliseconds.
    before = int(client.call("TIME")[0])
    text = client.call("LATENCY", "GRAPH", "command").decode()
    after = int(client.call("TIME")[0])
    expected = [drawn("command", history, latest[2], now) for now in range(before - 1, after + 1)]
    check(text in expected, f"the graph of {history}:\n{text}\ninstead of\n{expected[-1]}")
    report = client.call("LATENCY", "DOCTOR").decode()
    values = [ms for _, ms in history]
    average = sum(values) // len(values)
    deviation = sum(abs(value - average) for value in values) // len(values)
    found = re.search(r"1\. command: (\d+) latency spikes \(average (\d+)ms, mean deviation (\d+)ms, period [\d.]+ sec\)\. "
                      r"Worst all time event (\d+)ms\.", report)
    check(found and [int(group) for group in found.groups()] == [len(values), average, deviation, max(values)],
          f"the doctor on {history}:\n{report}")
    check(client.call("LATENCY", "RESET", "command", "nothing") == 1, "one event is reset")
    check(client.call("LATENCY", "HISTORY", "command") == [], "it is gone")


def test_both_servers_draw_and_reckon_alike():
    with Workspace() as work:
        with work.redis("redis").start().client() as redis:
            one_server(redis)
        with work.server("ours", "--enable-debug-command", "yes").start().client() as ours:
            one_server(ours)


if __name__ == "__main__":
    sys.exit(run_tests(globals()) if has_redis_7_0() else 77)
