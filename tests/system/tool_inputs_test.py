#!/usr/bin/env python3
"""Every command of the offline tool with what it cannot read: a status as documented, one JSON object a line with
--json, a message on standard error, nothing written, no progress bar in a pipe. Help of every command says what it takes.
"""

import json
import os
import shutil
import subprocess

from holdfast_testing import TOOL, Workspace, check

# @ is the input, % what is written.
COMMANDS = [["inspect", "@"], ["verify", "@"], ["keys", "@"], ["keys", "-l", "@"], ["scan", "@"], ["get", "@", "key"],
            ["stats", "@"], ["report", "@", "%"], ["diff", "@", "@"], ["convert", "@", "%", "--to", "rdb"],
            ["convert", "@", "%", "--to", "directory"], ["restore", "@", "%"], ["backup", "@", "%"],
            ["backup", "verify", "@"], ["snapshot", "verify", "@"], ["log", "verify", "@"], ["log", "list", "@"],
            ["log", "print", "@"], ["log", "tail", "@"], ["log", "stats", "@"], ["check", "@"],
            ["repair", "@", "--rebuild", "--yes"], ["compact", "@"]]
USAGE = [[], ["nonsense"], ["get", "@"], ["diff", "@"], ["keys", "@", "--nonsense"], ["keys", "@", "--db", "x"],
         ["convert", "@", "%", "--to", "nonsense"], ["convert", "@", "%", "--rdb-version", "8"], ["log"], ["snapshot"],
         ["repair", "@", "--generation", "gen-1"]]


def run(arguments, path, target, *more):
    words = [{"@": path, "%": target}.get(word, word) for word in arguments]
    return subprocess.run([TOOL, *words, *more], capture_output=True, check=False, stdin=subprocess.DEVNULL, timeout=120)


def judge(arguments, path, target, statuses):
    before = sorted(os.listdir(os.path.dirname(path)))
    for more in ([], ["--json"]):
        done = run(arguments, path, target, *more)
        what = f"{arguments} {more} of {path}: {done.returncode}\n{done.stdout[:600]}\n{done.stderr[:600]}"
        check(done.returncode in statuses, what)
        check(b"\x1b" not in done.stdout + done.stderr and b"\r" not in done.stderr, "a progress bar in a pipe: " + what)
        check(done.returncode == 0 or done.stderr or done.stdout, "no message: " + what)
        if more:
            objects = [json.loads(line) for line in done.stdout.splitlines()]
            check(objects or done.returncode == 0, "no JSON: " + what)
            check(all(isinstance(each, dict) for each in objects), "no objects: " + what)
        if done.returncode == 0 and os.path.isdir(target):
            shutil.rmtree(target)
        elif done.returncode == 0 and os.path.exists(target):
            os.remove(target)
        check(not os.path.exists(target), "something was written: " + what)
    check(sorted(os.listdir(os.path.dirname(path))) == before, f"{arguments} left files behind")


def bad_inputs(workspace):
    server = workspace.server("source").start()
    with server.client() as client:
        client.pipeline([("SET", f"key{i}", "value" * 20) for i in range(500)])
        client.call("SAVE")
    server.terminate()
    snapshots = os.path.join(server.directory, "snapshots")
    with open(os.path.join(snapshots, os.listdir(snapshots)[0]), "rb") as file:
        snapshot = file.read()
    rdb = os.path.join(workspace.path, "good.rdb")
    check(run(["convert", "@", "%"], server.directory, rdb).returncode == 0, "convert")
    with open(rdb, "rb") as file:
        dump = file.read()
    folder = os.path.join(workspace.path, "bad")
    os.makedirs(os.path.join(folder, "directory"))
    noise = bytes((i * 167 + 13) % 251 for i in range(5000))
    files = {"empty": b"", "empty.resp": b"", "empty.hfs": b"", "zeros": bytes(5000), "noise": noise, "noise.hfs": noise,
             "00000000000000000001-00000000000000000000.log": noise, "text": b"no data at all\n",
             "cut.hfs": snapshot[:len(snapshot) // 2], "cut.rdb": dump[:len(dump) // 2], "cut.resp": b"*3\r\n$3\r\nSET\r\n$"}
    for name, data in files.items():
        with open(os.path.join(folder, name), "wb") as file:
            file.write(data)
    # Damaged files are told as such by what reads content; a torn log or AOF may be fine, and inspect tells what it can.
    for name in ["missing", "directory", *files]:
        known = name.startswith(("cut", "0000")) or name.endswith(".hfs")
        path = os.path.join(folder, name)
        for arguments in COMMANDS:
            statuses = {0, 1, 2} if known else {1, 2} if arguments[0] == "snapshot" else {2}
            judge(arguments, path, os.path.join(folder, "target"), statuses)
    for name in ("cut.hfs", "cut.rdb"):
        judge(["verify", "@"], os.path.join(folder, name), os.path.join(folder, "target"), {1})
        judge(["stats", "@"], os.path.join(folder, name), os.path.join(folder, "target"), {1, 2})
    done = run(["keys", "@"], os.path.join(folder, "empty.resp"), "")
    check(b"is empty" in done.stderr, f"{done.stderr}")
    for arguments in USAGE:
        judge(arguments, os.path.join(folder, "noise"), os.path.join(folder, "target"), {2})
    done = run(["keys", "@", "--nonsense"], server.directory, "", "--json")
    check(json.loads(done.stdout)["result"] == "usage", f"{done.stdout}")


def helps():
    names = {tuple(word for word in arguments[:2] if word.isalpha() and arguments[0] in ("log", "snapshot")) or
             (arguments[0],) for arguments in COMMANDS}
    for name in sorted(names):
        done = run([*name, "--help"], "", "")
        check(done.returncode == 0 and not done.stderr, f"{name} --help: {done.returncode} {done.stderr}")
        check(b"--json" in done.stdout and b"REQUIRED" in done.stdout, f"{name} --help: {done.stdout}")


def main():
    helps()
    with Workspace() as workspace:
        bad_inputs(workspace)
    print("ok")


if __name__ == "__main__":
    main()
