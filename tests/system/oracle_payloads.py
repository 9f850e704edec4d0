"""Random RESTORE commands for oracle_test.py, with payloads that redis-server 7.0.15 made. What DUMP answers may differ
in its bytes; payload_test.py compares what it stands for.
"""

PAYLOADS = [
    bytes.fromhex("000576616c75650a0081f6c138c1aa9b6e"),  # string
    bytes.fromhex("00c0850a006209ca735473eb80"),  # number
    bytes.fromhex("1201020f0f00000003008161020701816202ff0a0008dac0fb978e558c"),  # list
    bytes.fromhex("0b0e02000000030000000100020003000a00a5025ce26d6e4d1b"),  # integers
    bytes.fromhex("1013130000000400816602817602816702817702ff0a00d9dec5c9160fb235"),  # hash
    bytes.fromhex("1114140000000400816d0283312e3504816e020201ff0a00f1b03a6d585f6938"),  # sorted
]


class Payloads:
    def __init__(self, rng, any_key):
        self.rng, self.any_key = rng, any_key

    def payload(self):
        r = self.rng
        whole = r.choice(PAYLOADS)
        if r.random() < 0.8:
            return whole
        place = r.randrange(len(whole))
        return r.choice([whole[:place], whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1:], b"", b"junk"])

    def time(self):
        return self.rng.choice(["0", "0", "0", "100000", "-1", "abc", "", "1.5"])

    def options(self):
        r = self.rng
        return r.choice([[], [], ["REPLACE"], ["replace"], ["REPLACE", "ABSTTL"], ["IDLETIME", "10"], ["FREQ", "7"],
                         ["IDLETIME", "-1"], ["FREQ", "256"], ["FREQ"], ["IDLETIME", "1", "FREQ", "1"], ["nonsense"],
                         ["REPLACE", "IDLETIME", "x"]])

    def commands(self):
        return [lambda: ["RESTORE", self.any_key(), self.time(), self.payload()] + self.options(),
                lambda: ["RESTORE", self.any_key(), "4102444800000", self.rng.choice(PAYLOADS), "ABSTTL", "REPLACE"],
                lambda: ["DUMP", "no such key"]]
