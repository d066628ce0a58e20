"""The kernel of a Python context: runs one cell after another in one namespace, inside the sandbox.

Its parts are put together in one file when Glovebox is built: channel, show, charts, kernel. Descriptor 3 is the control
channel, frames of `kind id length` on a line and then as many bytes (UTF-8; JSON in what this side sends). Descriptors 1
and 2 belong to the cells; the id of a cell, written to both at its end, tells the host where its output stops. Nothing
here is trusted by the host.
"""

import ast
import asyncio
import base64
import faulthandler
import inspect
import io
import json
import linecache
import math
import os
import signal
import sys
import threading
import traceback
import types

# The host takes frames of 16 MiB.
FRAME_BYTES = 15 << 20


class Channel:
    """The control channel and private copies of the output descriptors, none of them inherited by programs that a cell starts."""

    def __init__(self):
        self._in = os.fdopen(os.dup(3), "rb")
        self._out = os.dup(3)
        self._marks = [os.dup(1), os.dup(2)]
        self._null = os.open(os.devnull, os.O_RDWR)
        self._lock = threading.RLock()
        os.close(3)
        os.register_at_fork(after_in_child=self._leave)
        faulthandler.enable(self._marks[1])
        # An interrupt that comes meanwhile waits: half a frame would end the context.
        self.busy = False

    def _leave(self):
        """A fork of this process is a program like any other: the channel stays with its parent."""
        self._lock = threading.RLock()
        for descriptor in (self._in.fileno(), self._out, *self._marks):
            os.dup2(self._null, descriptor, inheritable=False)

    def receive(self):
        head = self._in.readline().split()
        if len(head) != 3:
            raise SystemExit(0)
        kind, cell, length = head
        return kind.decode(), cell.decode(), self._in.read(int(length)).decode("utf-8", "replace")

    def send(self, kind, cell, value):
        body = encoded_json(value)
        if len(body) > FRAME_BYTES:
            note = f"<a result of {len(body)} bytes, which is too large to show>"
            body = encoded_json({"text": note, "isMainResult": value.get("isMainResult", False), "dropped": True})
        frame = b"%s %s %d\n" % (kind.encode(), cell.encode(), len(body)) + body
        # Which thread this is counts: only the main one is interrupted.
        own = threading.current_thread() is threading.main_thread()
        self.busy = self.busy or own
        try:
            with self._lock:
                self._write(self._out, frame)
        finally:
            self.busy = self.busy and not own

    def mark(self, cell):
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except Exception:
                pass
        for descriptor in self._marks:
            self._write(descriptor, b"\0%s\0" % cell.encode())

    @staticmethod
    def _write(descriptor, data):
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]


def encoded_json(value):
    """As JSON, whatever it is: what JSON cannot say is said in words."""
    try:
        return json.dumps(value, default=str, allow_nan=False).encode()
    except Exception:
        return json.dumps(plain_tree(value, 0), allow_nan=False).encode()


def plain_tree(value, depth):
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, int):
        return int(value) if abs(value) < 1 << 64 else None
    if depth > 50:
        return None
    if isinstance(value, dict):
        return {text_of(key) if not isinstance(key, str) else key: plain_tree(one, depth + 1) for key, one in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain_tree(one, depth + 1) for one in value]
    return text_of(value)


def attempt(work, *arguments):
    """What a cell's own object answers; an error in it is nobody's business here."""
    try:
        return work(*arguments)
    except Exception:
        return None


CHARACTERS_OF_TEXT = 1 << 20


def cut(text):
    return text if len(text) <= CHARACTERS_OF_TEXT else text[:CHARACTERS_OF_TEXT] + "…"


def text_of(value):
    try:
        return cut(repr(value))
    except Exception as error:
        return f"<{type(value).__name__}: repr failed with {type(error).__name__}>"
