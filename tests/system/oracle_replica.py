"""A replica of the server under test for oracle_test.py. It is attached while its master is empty, so what it holds at the
end is the replay of the whole log from its first byte."""
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
