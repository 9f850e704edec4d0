#!/usr/bin/env python3
"""A few real power cuts (tests/faults/power_cuts.py): an ext4 or XFS disk is shut down under a loaded server."""

import os
import subprocess
import sys

SCRIPT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "faults", "power_cuts.py")

if __name__ == "__main__":
    sys.exit(subprocess.run([SCRIPT, "--cuts", "8", "--seconds", "60"], check=False).returncode)
