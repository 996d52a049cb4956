"""Runs a command in a terminal of its own: its output goes to stdout, and SIGINT to this program is Ctrl-C typed there."""
import os
import pty
import signal
import sys

CTRL_C = b"\x03"

pid, terminal = pty.fork()
if pid == 0:
    os.execvp(sys.argv[1], sys.argv[1:])
# The terminal gives Ctrl-C to every process of its foreground group, as it does when a person types it.
signal.signal(signal.SIGINT, lambda *_: os.write(terminal, CTRL_C))
signal.signal(signal.SIGTERM, lambda *_: os.kill(pid, signal.SIGTERM))
while True:
    try:
        data = os.read(terminal, 65536)
    except OSError:
        break
    if not data:
        break
    sys.stdout.buffer.write(data)
    sys.stdout.flush()
_, status = os.waitpid(pid, 0)
code = os.waitstatus_to_exitcode(status)
# As a shell says it: ended by a signal.
sys.exit(code if code >= 0 else 128 - code)
