#!/usr/bin/env python3
"""holdfast-server as shells, init scripts and logrotate see it: arguments, configuration files, exit codes, signals,
daemonize and pidfile, one process a directory."""

import glob
import os
import shutil
import signal
import subprocess
import sys
import time

from holdfast_testing import SERVER, Client, Workspace, check, free_port, wait_for

CLEAN, USAGE, DAMAGE = 0, 1, 2


def run(*arguments, text=None, timeout=30):
    """Runs the server to its end; returns (exit code, everything it said)."""
    done = subprocess.run([SERVER, *map(str, arguments)], input=text, capture_output=True, text=True, timeout=timeout,
                          check=False)
    return done.returncode, done.stdout + done.stderr


def fresh(workspace, name):
    path = os.path.join(workspace.path, name)
    os.makedirs(path, exist_ok=True)
    return path


def write(path, text):
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    return path


def read(path):
    with open(path, encoding="utf-8", errors="replace") as file:
        return file.read()


def help_and_version(_):
    for option in ("--help", "-h"):
        code, said = run(option)
        check(code == CLEAN, f"{option} exits with {code}")
        check("holdfast-server" in said and "--port" in said, f"{option} explains the usage: {said!r}")
    for option in ("--version", "-v"):
        code, said = run(option)
        check(code == CLEAN, f"{option} exits with {code}")
        check("oldfast" in said and any(c.isdigit() for c in said), f"{option} says name and version: {said!r}")


def bad_configuration(workspace):
    """Nothing is started, and the message names file, line and reason."""
    directory = fresh(workspace, "bad")
    cases = [("port 6379\nno-such-directive yes\n", 2, "no-such-directive"),
             ("# comment\n\nport abc\n", 3, "port"),
             ("appendfsync sometimes\n", 1, "appendfsync"),
             ("port\n", 1, "port"),
             ("save \"900 1\n", 1, "quotes"),
             ("maxclients 0\n", 1, "maxclients"),
             ("replica-read-only no\n", 1, "replica-read-only"),
             ("memtable-size lots\n", 1, "memtable-size")]
    for text, line, reason in cases:
        path = write(os.path.join(directory, "bad.conf"), text)
        code, said = run(path, "--dir", directory)
        check(code == USAGE, f"{text!r}: exit code {code}\n{said}")
        check(path in said and f"line {line}" in said, f"{text!r}: file and line are missing:\n{said}")
        check(reason in said, f"{text!r}: the reason is missing:\n{said}")
    # In an included file it is that file and its line.
    inner = write(os.path.join(directory, "inner.conf"), "loglevel notice\nhz x\n")
    outer = write(os.path.join(directory, "outer.conf"), f"port 0\ninclude {inner}\n")
    code, said = run(outer, "--dir", directory)
    check(code == USAGE and inner in said and "line 2" in said, f"an error in an included file: {code}\n{said}")
    for arguments, reason in ((["--no-such-directive", "yes"], "no-such-directive"), (["--port", "abc"], "port"),
                              ([os.path.join(directory, "missing.conf")], "missing.conf"),
                              (["--dir", os.path.join(directory, "no", "such")], "no/such")):
        code, said = run(*arguments)
        check(code == USAGE and reason in said, f"{arguments}: exit code {code}\n{said}")
    # daemonize must not hide it from an init script.
    code, said = run(write(os.path.join(directory, "bad.conf"), "daemonize yes\nport abc\n"))
    check(code == USAGE and "line 2" in said, f"a bad file with daemonize: {code}\n{said}")
    check(not glob.glob(os.path.join(directory, "gen-*")), "a refused start leaves no data behind")


def one_process_a_directory(workspace):
    server = workspace.server("locked").start()
    code, said = run("--port", free_port(), "--dir", server.directory)
    check(code == USAGE, f"the second process exits with {code}\n{said}")
    check(server.directory in said and ("another process" in said or "locked" in said or "in use" in said),
          f"the message says what is wrong:\n{said}")
    code, said = run("--port", server.port, "--bind", "127.0.0.1", "--dir", fresh(workspace, "port"))
    check(code == USAGE and str(server.port) in said, f"a taken port: {code}\n{said}")
    with server.client() as client:
        check(client.call("SET", "k", "v") == "OK", "the first process goes on")
    check(server.terminate() == CLEAN, "a clean stop")
    server.start()
    with server.client() as client:
        check(client.call("GET", "k") == b"v", "the lock is free after a stop")
    server.stop()


def flip(path, position):
    with open(path, "r+b") as file:
        file.seek(position)
        byte = file.read(1)
        file.seek(position)
        file.write(bytes([byte[0] ^ 0x10]))


def damaged_directory(workspace):
    """Damage is refused with exit code 2 and the file's name, and the file stays as it is."""
    origin = workspace.server("origin").start()
    with origin.client() as client:
        for number in range(200):
            client.call("SET", f"key-{number:04}", f"marker-{number:04}")
    origin.kill()

    def refused(name, damage, file_name):
        copy = os.path.join(workspace.path, name)
        shutil.copytree(origin.directory, copy)
        path = damage(copy)
        kept = open(path, "rb").read()
        code, said = run("--port", free_port(), "--bind", "127.0.0.1", "--dir", copy)
        check(code == DAMAGE, f"{name}: exit code {code}\n{said}")
        check(file_name in said, f"{name}: the message names {file_name}:\n{said}")
        check(open(path, "rb").read() == kept, f"{name}: the damaged file was changed")

    def damage_log(copy):
        for path in sorted(glob.glob(os.path.join(copy, "gen-*", "wal", "*.log"))):
            position = open(path, "rb").read().find(b"marker-0005")
            if position >= 0:
                flip(path, position)
                return path
        raise AssertionError("the value is not in the log")

    def damage_current(copy):
        path = os.path.join(copy, "CURRENT")
        flip(path, 2)
        return path

    refused("log", damage_log, ".log")
    refused("current", damage_current, "CURRENT")
    # The undamaged one starts.
    origin.start()
    with origin.client() as client:
        check(client.call("DBSIZE") == 200, "the undamaged directory starts")
    origin.stop()


def stop_signals(workspace):
    server = workspace.server("signals", "--pidfile", os.path.join(workspace.path, "signals.pid"))
    pidfile = os.path.join(workspace.path, "signals.pid")
    for number in (signal.SIGTERM, signal.SIGINT):
        server.start()
        check(int(read(pidfile)) == server.process.pid, "the pidfile holds the process id")
        with server.client() as client:
            client.call("INCR", "starts")
            server.process.send_signal(number)
            check(server.process.wait(30) == CLEAN, f"{number.name} exits with {server.process.returncode}")
        check(not os.path.exists(pidfile), f"{number.name} removes the pidfile")
    server.start()
    with server.client() as client:
        check(client.call("GET", "starts") == b"2", "everything is there")
        client.send("SHUTDOWN")
        check(server.process.wait(30) == CLEAN, "SHUTDOWN exits with 0")
    check(not os.path.exists(pidfile), "SHUTDOWN removes the pidfile")


def log_rotation(workspace):
    """SIGHUP: what logrotate does without copytruncate."""
    directory = fresh(workspace, "rotate")
    log = os.path.join(directory, "holdfast.log")
    server = workspace.server("rotate", "--logfile", log).start()
    wait_for(lambda: os.path.exists(log) and os.path.getsize(log) > 0, what="the log file")
    os.rename(log, log + ".1")
    server.process.send_signal(signal.SIGHUP)
    wait_for(lambda: os.path.exists(log), what="the log file being opened again")
    with server.client() as client:
        check(client.call("PING") == "PONG", "SIGHUP does not stop the server")
    size = os.path.getsize(log + ".1")
    check(server.terminate() == CLEAN, "a clean stop")
    check(os.path.getsize(log) > 0, "messages go to the new file")
    check(os.path.getsize(log + ".1") == size, "nothing more goes to the old file")


def alive(pid):
    try:
        return read(f"/proc/{pid}/stat").rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def daemon(workspace):
    """The usual init script: start returns 0 with the pidfile soon there, stop by redis-cli SHUTDOWN."""
    directory = fresh(workspace, "daemon")
    port = free_port()
    pidfile = os.path.join(directory, "holdfast.pid")
    log = os.path.join(directory, "holdfast.log")
    config = write(os.path.join(directory, "holdfast.conf"),
                   f"bind 127.0.0.1\nport {port}\ndaemonize yes\npidfile {pidfile}\nloglevel notice\nlogfile {log}\n"
                   f"dir {directory}\nrequirepass 123123\n")
    code, said = run(config)
    check(code == CLEAN, f"daemonize exits with {code}\n{said}")
    wait_for(lambda: os.path.exists(pidfile) and read(pidfile).strip(), what="the pidfile")
    pid = int(read(pidfile))
    try:
        check(pid != os.getpid() and alive(pid), "the daemon runs")
        fields = read(f"/proc/{pid}/stat").rsplit(")", 1)[1].split()
        check(int(fields[3]) != os.getsid(0), "the daemon has a session of its own")
        for descriptor in range(3):
            check(os.readlink(f"/proc/{pid}/fd/{descriptor}") == "/dev/null", "standard streams are /dev/null")

        def ready():
            with Client(port) as client:
                return client.ask("AUTH", "123123") == "OK"

        wait_for(ready, what="the daemon answering")
        check("Ready" in read(log) or "ready" in read(log), f"the log says when it is ready:\n{read(log)}")
        done = subprocess.run(["redis-cli", "-p", str(port), "-a", "123123", "--no-auth-warning", "SHUTDOWN"],
                              capture_output=True, text=True, timeout=30, check=False)
        check(done.returncode == 0, f"redis-cli SHUTDOWN: {done.stdout}{done.stderr}")
        wait_for(lambda: not alive(pid), what="the daemon's end")
        check(not os.path.exists(pidfile), "the pidfile is gone")
    finally:
        if alive(pid):
            os.kill(pid, signal.SIGKILL)
            print(read(log), file=sys.stderr)


def arguments_and_files(workspace):
    """A file, options after it that win, include, "-" for standard input."""
    directory = fresh(workspace, "arguments")
    port = free_port()
    write(os.path.join(directory, "part-a.conf"), "maxclients 123\ntimeout 7\n")
    write(os.path.join(directory, "part-b.conf"), "databases 3\n")
    config = write(os.path.join(directory, "main.conf"),
                   f"# a comment\n\n  PORT 1\nbind 127.0.0.1\ndir \"{directory}\"\ninclude {directory}/part-*.conf\n"
                   f"timeout 9\nsave \"\"\nappendonly no\nactivedefrag no\n")

    def settings(process):
        def connected():
            check(process.poll() is None, f"the server exited with {process.returncode}")
            return Client(port)

        try:
            with wait_for(connected, what="the server") as client:
                names = ("maxclients", "timeout", "databases", "port")
                return {name: client.call("CONFIG", "GET", name)[1].decode() for name in names}
        finally:
            process.terminate()
            said = process.communicate(timeout=30)[0]
            check(process.returncode == CLEAN, f"exit code {process.returncode}\n{said}")

    def start(*arguments, text=None):
        source = subprocess.PIPE if text else subprocess.DEVNULL
        process = subprocess.Popen([SERVER, *map(str, arguments)], stdin=source, stdout=subprocess.PIPE,
                                   stderr=subprocess.STDOUT, text=True)
        if text:
            process.stdin.write(text)
            process.stdin.close()
            process.stdin = None
        return process

    expected = {"maxclients": "123", "timeout": "9", "databases": "3", "port": str(port)}
    check(settings(start(config, "--port", port)) == expected, "file, include and options")
    got = settings(start(config, "--port", port, "--timeout", "11", "--maxclients", "50"))
    check(got == expected | {"timeout": "11", "maxclients": "50"}, f"options win over the file: {got}")
    got = settings(start("-", text=f"port {port}\nbind 127.0.0.1\ndir {directory}\ntimeout 13\ndatabases 3\n"))
    check(got["timeout"] == "13", f"a configuration from standard input: {got}")
    got = settings(start("-", "--timeout", "14", text=f"port {port}\nbind 127.0.0.1\ndir {directory}\ndatabases 3\n"))
    check(got["timeout"] == "14", f"standard input and options: {got}")


def ignored_directives(workspace):
    """Directives of redis.conf without a meaning here are accepted and mentioned once; `appendonly no` warns."""
    directory = fresh(workspace, "ignored")
    config = write(os.path.join(directory, "redis.conf"),
                   "appendonly no\nactivedefrag no\nlazyfree-lazy-eviction no\nhash-max-listpack-entries 512\n"
                   "always-show-logo no\nset-proc-title yes\nstop-writes-on-bgsave-error yes\nrdbcompression yes\n")
    server = workspace.server("ignored", config=config).start()
    with server.client() as client:
        check(client.call("SET", "k", "v") == "OK", "it runs")
    check(server.log_text().count("appendonly") >= 1, "`appendonly no` is mentioned")
    check("activedefrag" in server.log_text(), "a directive without a meaning is mentioned")
    server.stop()


def stock_file(workspace):
    """The file that comes with redis-server: only where it runs and writes is told anew, as packages do it."""
    stock = "/etc/redis/redis.conf"
    if not os.path.exists(stock):
        print(f"no {stock}")
        return
    directory = fresh(workspace, "stock")
    own = {"dir": directory, "logfile": '""', "daemonize": "no", "pidfile": os.path.join(directory, "pid")}
    lines = read(stock).splitlines()
    lines = [f"{name} {own[name]}" if (name := line.split(" ")[0]) in own else line for line in lines]
    check(sum(line.startswith(tuple(own)) for line in lines) == len(own), "the stock file names them all")
    server = workspace.server("stock", config=write(os.path.join(directory, "redis.conf"), "\n".join(lines) + "\n")).start()
    with server.client() as client:
        check(client.call("SET", "k", "v") == "OK", "it runs")
        check(client.call("CONFIG", "GET", "appendfsync")[1] == b"everysec", "the stock file's fsync mode is obeyed")
    check("appendfsync everysec: " in server.log_text(), "what everysec can lose is said")
    server.stop()


def main():
    for test in (help_and_version, bad_configuration, one_process_a_directory, damaged_directory, stop_signals,
                 log_rotation, daemon, arguments_and_files, ignored_directives, stock_file):
        if len(sys.argv) > 1 and test.__name__ not in sys.argv[1:]:
            continue
        began = time.monotonic()
        with Workspace() as workspace:
            test(workspace)
        print(f"{test.__name__}: {time.monotonic() - began:.1f} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
