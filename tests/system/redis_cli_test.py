#!/usr/bin/env python3
"""redis-cli and redis-benchmark, unmodified, against holdfast-server."""
import os
import pty
import shutil
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from oracle_test import SERVER, Server  # noqa: E402


def run(arguments, text=None, timeout=60):
    done = subprocess.run(arguments, input=text, capture_output=True, timeout=timeout)
    return done.returncode, done.stdout.decode("latin1"), done.stderr.decode("latin1")


def check(condition, message):
    if not condition:
        raise AssertionError(message)


def start_and_read(arguments, wanted, timeout=20):
    """Starts a program that runs for ever on a terminal, reads until `wanted` appears, ends it."""
    master, slave = pty.openpty()
    process = subprocess.Popen(arguments, stdin=slave, stdout=slave, stderr=slave, env={**os.environ, "TERM": "dumb"})
    os.close(slave)
    os.set_blocking(master, False)
    seen, deadline = b"", time.time() + timeout
    try:
        while wanted not in seen:
            check(time.time() < deadline, "%r: no %r in %r" % (arguments, wanted, seen[-2000:]))
            try:
                seen += os.read(master, 65536)
            except BlockingIOError:
                time.sleep(0.01)
        return master, process, seen
    except BaseException:
        process.kill()
        process.wait()
        os.close(master)
        raise


def finish(master, process):
    process.kill()
    process.wait()
    os.close(master)


def benchmark(port):
    tests = "ping_inline,ping_mbulk,set,get,incr,mset"
    code, out, err = run(["redis-benchmark", "-p", str(port), "-n", "3000", "-c", "20", "-P", "8", "-q", "-t", tests],
                         timeout=120)
    check(code == 0, "redis-benchmark failed: %s%s" % (out, err))
    for name in ("PING_INLINE", "PING_MBULK", "SET", "GET", "INCR", "MSET (10 keys)"):
        check(name + ":" in out and "requests per second" in out, "%s is missing in %s" % (name, out))
    check("WARN" not in err and "rror" not in err + out, "redis-benchmark complains: %s%s" % (out, err))


def main():
    if shutil.which("redis-cli") is None or shutil.which("redis-benchmark") is None:
        print("no redis-cli or redis-benchmark here: skipped")
        return 77
    server = Server(SERVER, [])
    cli = ["redis-cli", "-p", str(server.port)]
    try:
        benchmark(server.port)
        check(run(cli + ["flushall"])[1] == "OK\n", "flushall")
        lines = "".join("*3\r\n$3\r\nSET\r\n$%d\r\nkey:%d\r\n$1\r\nv\r\n" % (len("key:%d" % i), i) for i in range(2000))
        code, out, _ = run(cli + ["--pipe"], lines.encode())
        check(code == 0 and "errors: 0, replies: 2000" in out, "--pipe: %s" % out)
        code, out, _ = run(cli + ["--scan", "--pattern", "key:*"])
        check(code == 0 and len(set(out.split())) == 2000, "--scan: %d keys" % len(out.split()))
        run(cli + ["set", "big", "x" * 5000])
        code, out, err = run(cli + ["--bigkeys"])
        check(code == 0 and '"big"' in out and "5000 bytes" in out, "--bigkeys: %s%s" % (out, err))
        code, out, err = run(cli + ["--memkeys"])
        check(code == 0 and '"big"' in out, "--memkeys: %s%s" % (out, err))
        code, out, _ = run(cli + ["-3", "config", "get", "maxclients"])
        check(code == 0 and '1# "maxclients" => "10000"' in out or "10000" in out, "-3: %s" % out)
        code, out, _ = run(cli + ["-3", "hello"])
        check("holdfast" not in out and "7.0.15" in out, "hello: %s" % out)
        finish(*start_and_read(cli + ["--stat"], b"keys")[:2])
        finish(*start_and_read(cli + ["--latency"], b"samples")[:2])
        master, process, seen = start_and_read(cli, b"> ")
        try:
            check(b"rror" not in seen, "interactive start: %r" % seen)
            os.write(master, b"get big\n")
            deadline, seen = time.time() + 10, b""
            while b"xxxx" not in seen:
                check(time.time() < deadline, "interactive: %r" % seen)
                try:
                    seen += os.read(master, 65536)
                except BlockingIOError:
                    time.sleep(0.01)
        finally:
            finish(master, process)
    finally:
        server.stop()
    print("redis-cli and redis-benchmark work")
    return 0


if __name__ == "__main__":
    sys.exit(main())
