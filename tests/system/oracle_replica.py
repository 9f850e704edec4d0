"""Other nodes of the server under test for oracle_test.py: a replica, which is attached while its master is empty, so that
it applies the whole log as it comes; and what the offline tool makes of a copy of nothing but the log, from its first byte.
"""
import glob
import os
import shutil
import subprocess
import tempfile
import time


def offsets(master, replica):
    """The ends of both streams."""
    def field(connection, name):
        for line in connection.command("INFO", "replication").decode().splitlines():
            if line.startswith(name + ":"):
                return int(line.split(":")[1])
        return None
    return field(master, "master_repl_offset"), field(replica, "slave_repl_offset")


def wait_until_attached(connect, port):
    replica, deadline = connect(port), time.time() + 60
    while b"master_link_status:up" not in replica.command("INFO", "replication"):
        assert time.time() < deadline, "the replica did not attach"
        time.sleep(0.02)
    replica.close()


def compare(connect, master_port, replica_port):
    """Both hold the same once the replica has applied everything."""
    master, replica = connect(master_port), connect(replica_port)
    deadline = time.time() + 60
    while True:
        ends = offsets(master, replica)
        digests = [connection.command("DEBUG", "DIGEST") for connection in (master, replica)]
        if ends[0] == ends[1] and digests[0] == digests[1]:
            break
        assert time.time() < deadline, "master and replica differ: offsets %r, digests %r" % (ends, digests)
        time.sleep(0.02)
    master.close()
    replica.close()


def restore_from_log(tool, directory):
    """A new data directory made of a copy of a stopped server's log, and nothing else."""
    logs = glob.glob(os.path.join(directory, "gen-*", "wal"))
    assert len(logs) == 1, "one generation with a log: %r" % logs
    place = tempfile.mkdtemp(prefix="oracle-replay-")
    copy = shutil.copytree(logs[0], os.path.join(place, "log"))
    restored = os.path.join(place, "data")
    done = subprocess.run([tool, "restore", copy, restored], capture_output=True, text=True, check=False)
    assert done.returncode == 0, "restore: %d\n%s%s" % (done.returncode, done.stdout, done.stderr)
    shutil.rmtree(copy)
    return restored


def assert_no_difference(tool, directory, restored):
    """The tool finds the same in both, element by element."""
    done = subprocess.run([tool, "diff", directory, restored, "--values"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, "master and replay differ: %.2000s%s" % (done.stdout, done.stderr)
