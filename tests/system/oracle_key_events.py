"""Compares keyspace events for oracle_test.py: subscribers of both servers must be told the same, in the same order."""


class KeyEvents:
    """`connect` makes a connection to a port. `flags` for notify-keyspace-events; none: nothing is compared."""

    def __init__(self, connect, ports, flags):
        self.flags, self.marks = flags, 0
        self.controls = [connect(port) for port in ports]
        self.listeners = [connect(port) for port in ports]
        for control, listener in zip(self.controls, self.listeners):
            control.command("CONFIG", "SET", "notify-keyspace-events", flags)
            listener.command("PSUBSCRIBE", "__key*__:*")

    def told(self):
        """What each server's subscriber was told since the last call."""
        self.marks += 1
        mark, lists = b"mark %d" % self.marks, []
        for control, listener in zip(self.controls, self.listeners):
            control.command("PUBLISH", "__keymark__:", mark)
            messages = []
            while True:
                message = listener.read()
                if message[3] == mark:
                    break
                messages.append((message[2], message[3]))
            lists.append(messages)
        return lists

    def difference(self, comparable):
        if not self.flags:
            return None
        ours, theirs = self.told()
        if ours == theirs or not comparable:
            return None
        return "events differ:\n  holdfast: %.2000r\n  redis:    %.2000r" % (ours, theirs)

    def close(self):
        for connection in self.controls + self.listeners:
            connection.close()
