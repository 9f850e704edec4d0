"""Networks between the processes of a system test, whose cables can be cut, in one direction, too.

Wires: everything runs on 127.0.0.1, and every node is reached through a wire of this process, which knows both ends of
each connection (whose socket it is, /proc tells), delays, loses, cuts and resets. A cut holds what is sent: like TCP, it
arrives when the cut has healed, if the connection still lives then. A lost segment is one that comes a retransmission
later, with all that follows it. A connection that is begun under a cut is accepted and silent.

Namespaces: every node has a network namespace and an address, and packets that are cut vanish: root and `ip` are needed. Delay
and loss are not to be had there. Only the addresses 10.77.0.0/24 on a bridge of this machine are used.

Both know the same things: options and command of a server called `name`, where others reach it, sockets of the client called
`name`, cut(a, b) for what a sends to b, heal().
"""

import asyncio
import ctypes
import errno
import os
import random
import socket
import struct
import subprocess
import threading

from holdfast_testing import free_port

RETRANSMISSION_S = 0.2


class Wires:
    def __init__(self, seed=0):
        self.rng = random.Random(seed)
        self.pids = {}        # name -> function that gives the process' id, or None
        self.behind = {}      # name -> its own port
        self.reached = {}     # name -> the wire's port
        self.clients = {}     # local port -> name
        self.cuts = set()     # (from, to)
        self.delay_s = 0.0
        self.loss = 0.0
        self.listening = []
        self.connections = set()  # (one end, other end, writers)
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()

    def add(self, name):
        """A wire to a server that will be called `name`."""
        self.behind[name], self.reached[name] = free_port(), free_port()
        asyncio.run_coroutine_threadsafe(self._listen(name), self.loop).result(30)

    def runs(self, name, pid):
        self.pids[name] = pid

    def command(self, _name):
        return []

    def own(self, name):
        """Address and port to listen on; what tests use that look at all nodes, cut or not."""
        return "127.0.0.1", self.behind[name]

    def address(self, name):
        """Where others reach it, over the wire."""
        return "127.0.0.1", self.reached[name]

    def connect(self, client, name, timeout):
        """A socket of `client` to the server `name`."""
        sock = socket.socket()
        sock.settimeout(timeout)
        sock.bind(("127.0.0.1", 0))
        self.clients[sock.getsockname()[1]] = client
        sock.connect(self.address(name))
        return sock

    def cut(self, source, destination):
        self.cuts.add((source, destination))

    def heal(self):
        self.cuts.clear()
        self.delay_s = self.loss = 0.0

    def reset(self):
        """Ends all connections by RST."""
        self.loop.call_soon_threadsafe(self._reset)

    def stop(self):
        async def end():
            self.loop.set_exception_handler(lambda *_: None)  # connections that end half-way
            tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        asyncio.run_coroutine_threadsafe(end(), self.loop).result(30)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(30)

    def _reset(self):
        for _, _, writers in list(self.connections):
            for writer in writers:
                _abort(writer)

    def _owner(self, port, wire_port):
        if port in self.clients:
            return self.clients.pop(port)
        inode = _inode_of(port, wire_port)
        for name, pid in self.pids.items():
            if inode and pid() and _holds(pid(), f"socket:[{inode}]"):
                return name
        return None

    async def _listen(self, name):
        self.listening.append(await asyncio.start_server(
            lambda reader, writer: self._serve(name, reader, writer), "127.0.0.1", self.reached[name]))

    async def _open(self, source, destination):
        while (source, destination) in self.cuts:
            await asyncio.sleep(0.01)

    async def _serve(self, name, reader, writer):
        try:
            source = self._owner(writer.get_extra_info("peername")[1], self.reached[name])
            if source is None:  # gone again
                _abort(writer)
                return
            await self._open(source, name)
            await self._open(name, source)
            there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self.behind[name])
        except OSError:
            _abort(writer)
            return
        connection = (source, name, (writer, there_writer))
        self.connections.add(connection)
        try:
            await asyncio.gather(self._carry(reader, there_writer, source, name),
                                 self._carry(there_reader, writer, name, source))
        except (OSError, RuntimeError):  # the latter of an end that is closed already
            pass
        finally:
            self.connections.discard(connection)
            _abort(writer)
            _abort(there_writer)

    async def _carry(self, reader, writer, source, destination):
        queue = asyncio.Queue(64)

        async def receive():
            due = 0.0
            while True:
                try:
                    data = await reader.read(1 << 16)
                except OSError:
                    data = b""
                late = self.delay_s + (RETRANSMISSION_S if self.rng.random() < self.loss else 0.0)
                due = max(due, self.loop.time() + late)
                await queue.put((due, data))
                if not data:
                    return

        async def deliver():
            while True:
                due, data = await queue.get()
                if due > self.loop.time():
                    await asyncio.sleep(due - self.loop.time())
                await self._open(source, destination)
                if not data:
                    writer.write_eof()
                    return
                writer.write(data)
                await writer.drain()

        await asyncio.gather(receive(), deliver())


def _abort(writer):
    sock = writer.get_extra_info("socket")
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    except OSError:
        pass
    writer.transport.abort()


def _inode_of(port, to_port):
    """The inode of the socket at 127.0.0.1:port that is connected to to_port; 0 if there is none any more."""
    try:
        return _asked_inode(port, to_port)
    except OSError:  # a kernel without sock_diag: read the table, slow as that is with many sockets
        with open("/proc/net/tcp", encoding="ascii") as table:
            ends = f":{port:04X}", f":{to_port:04X}"
            rows = [row for row in map(str.split, table) if row[1].endswith(ends[0]) and row[2].endswith(ends[1])]
        return int(rows[0][9]) if rows else 0


def _asked_inode(port, to_port):
    """By sock_diag(7): struct inet_diag_req_v2 out, struct inet_diag_msg back."""
    local = socket.inet_aton("127.0.0.1") + bytes(12)
    request = (struct.pack("=BBBBI", socket.AF_INET, socket.IPPROTO_TCP, 0, 0, 0xFFFFFFFF) +
               struct.pack("!HH", port, to_port) + local + local + struct.pack("=III", 0, 0xFFFFFFFF, 0xFFFFFFFF))
    with socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, 4) as netlink:  # NETLINK_SOCK_DIAG
        netlink.settimeout(10)
        netlink.send(struct.pack("=IHHII", 16 + len(request), 20, 1, 0, 0) + request)  # SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST
        answer = netlink.recv(8192)
    kind, = struct.unpack_from("=H", answer, 4)
    if kind != 20:
        code = -struct.unpack_from("=i", answer, 16)[0]
        if code == errno.ENOENT:
            return 0
        raise OSError(code, "sock_diag")
    return struct.unpack_from("=I", answer, 16 + 4 + 48 + 16)[0]


def _holds(pid, target):
    try:
        for descriptor in os.listdir(f"/proc/{pid}/fd"):
            try:
                if os.readlink(f"/proc/{pid}/fd/{descriptor}") == target:
                    return True
            except OSError:
                continue
    except OSError:
        pass
    return False


def _ip(*arguments):
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


class Namespaces:
    """The bridge is this machine's side: what looks at all nodes comes from there and is never cut."""

    BRIDGE = "hfbr0"
    NOWHERE = "02:00:00:00:00:fe"

    def __init__(self, _seed=0):
        self.hosts = {}
        self.cuts = set()
        self.delay_s = self.loss = 0.0  # not here
        self.libc = ctypes.CDLL(None, use_errno=True)
        _ip("link", "add", self.BRIDGE, "type", "bridge")
        _ip("addr", "add", "10.77.0.1/24", "dev", self.BRIDGE)
        _ip("link", "set", self.BRIDGE, "up")

    def add(self, name):
        number = len(self.hosts) + 2
        self.hosts[name] = f"10.77.0.{number}"
        space, inside, outside = self._space(name), "eth0", f"hfv{number}"
        _ip("netns", "add", space)
        _ip("link", "add", outside, "type", "veth", "peer", "name", inside, "netns", space)
        _ip("link", "set", outside, "master", self.BRIDGE, "up")
        _ip("-n", space, "addr", "add", f"{self.hosts[name]}/24", "dev", inside)
        _ip("-n", space, "link", "set", inside, "up")
        _ip("-n", space, "link", "set", "lo", "up")

    @staticmethod
    def _space(name):
        return f"hf-{name}"

    def runs(self, name, pid):
        pass

    def command(self, name):
        return ["ip", "netns", "exec", self._space(name)]

    def own(self, name):
        return self.hosts[name], 6379

    def address(self, name):
        return self.own(name)

    def connect(self, client, name, timeout):
        """Made by a thread that is in the client's namespace for as long as it takes."""
        made = []

        def make():
            with open(f"/run/netns/{self._space(client)}", "rb") as space:
                if self.libc.setns(space.fileno(), 0x40000000) != 0:
                    raise OSError(ctypes.get_errno(), "setns")
            try:
                made.append(socket.create_connection(self.address(name), timeout))
            except OSError as error:
                made.append(error)
        thread = threading.Thread(target=make)
        thread.start()
        thread.join()
        if not made or isinstance(made[0], Exception):
            raise made[0] if made else OSError("no socket")
        return made[0]

    def cut(self, source, destination):
        if (source, destination) not in self.cuts:
            self.cuts.add((source, destination))
            _ip("-n", self._space(source), "neigh", "replace", self.hosts[destination], "lladdr", self.NOWHERE,
                "nud", "permanent", "dev", "eth0")

    def heal(self):
        for source, destination in self.cuts:
            _ip("-n", self._space(source), "neigh", "del", self.hosts[destination], "dev", "eth0")
        self.cuts.clear()

    def reset(self):
        for name in self.hosts:
            subprocess.run(self.command(name) + ["ss", "-K", "state", "established"], check=False, capture_output=True)

    def stop(self):
        for name, host in self.hosts.items():
            # A namespace lives on while it has sockets; its cable would, too.
            subprocess.run(["ip", "link", "del", f"hfv{host.rpartition('.')[2]}"], check=False)
            subprocess.run(["ip", "netns", "del", self._space(name)], check=False)
        subprocess.run(["ip", "link", "del", self.BRIDGE], check=False)
