"""A headless Chromium, spoken to over a pipe: the DevTools protocol with what the standard library has.

Source: https://chromedevtools.github.io/devtools-protocol/, --remote-debugging-pipe: messages of JSON with a zero byte
behind each, read by the browser from descriptor 3 and written to descriptor 4.
"""

import json
import os
import select
import shutil
import subprocess
import sys
from base64 import b64decode
from pathlib import Path

# Descriptors are moved out of the way first: either may be 3 or 4 already.
_LAUNCHER = """
import fcntl, os, sys
pipes = [fcntl.fcntl(int(pipe), fcntl.F_DUPFD, 10) for pipe in sys.argv[1:3]]
for pipe, place in zip(pipes, (3, 4)):
    os.dup2(pipe, place)
os.execv(sys.argv[3], sys.argv[3:])
"""
_LONGEST, _MOST_LOOKS = 120, 20_000
NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")


def executable():
    """The path of a Chromium, or None."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Chromium:
    """One browser with one tab.

    Attributes:
        complaints: what the console and the browser had to say of the page: errors, exceptions, violations of policy.
        requested: addresses that were asked for.
    """

    def __init__(self, folder):
        self.complaints, self.requested = [], []
        self._last, self._session = 0, None
        there, back = os.pipe(), os.pipe()
        self._process = subprocess.Popen(
            [sys.executable, "-c", _LAUNCHER, str(there[0]), str(back[1]), *self._command(folder)],
            pass_fds=(there[0], back[1]),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(there[0])
        os.close(back[1])
        self._out, self._in = there[1], os.fdopen(back[0], "rb")
        self._waiting = b""
        page = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=page, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    @staticmethod
    def _command(folder):
        return [
            executable(),
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-background-networking",
            "--remote-debugging-pipe",
            f"--user-data-dir={folder}",
        ]

    def close(self):
        """End the browser."""
        self.call("Browser.close")
        self._process.wait(30)
        os.close(self._out)
        self._in.close()

    def call(self, method, **parameters):
        """One command; what it answers."""
        self._last += 1
        message = {"id": self._last, "method": method, "params": parameters}
        if self._session and not method.startswith(("Target.", "Browser.")):
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == self._last:
                assert "error" not in answer, answer
                return answer["result"]

    def _read(self):
        while b"\0" not in self._waiting:
            ready, _, _ = select.select([self._in], [], [], _LONGEST)
            assert ready, f"the browser said nothing for {_LONGEST} s"
            data = os.read(self._in.fileno(), 2**16)
            assert data, "the browser ended"
            self._waiting += data
        message, _, self._waiting = self._waiting.partition(b"\0")
        found = json.loads(message)
        self._note(found.get("method"), found.get("params", {}))
        return found

    def _note(self, method, about):
        if method == "Runtime.exceptionThrown":
            self.complaints.append(about["exceptionDetails"])
        elif method == "Runtime.consoleAPICalled" and about["type"] in ("error", "warning", "assert"):
            self.complaints.append(about["args"])
        elif method == "Log.entryAdded":
            self.complaints.append(about["entry"]["text"])
        elif method == "Network.requestWillBeSent":
            self.requested.append(about["request"]["url"])

    def size(self, width, height, *, dark=False):
        """The window, and what the user prefers."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        scheme = "dark" if dark else "light"
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def open(self, path, anchor=""):
        """Load a page, to the end."""
        self.call("Page.navigate", url=Path(path).as_uri() + anchor)
        for _ in range(_MOST_LOOKS):
            if self.run("document.readyState === 'complete' && location.protocol === 'file:'"):
                return
        raise AssertionError(f"{path} is not loaded after {_MOST_LOOKS} looks")

    def run(self, expression):
        """The value of an expression of JavaScript on the page."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def screenshot(self, path, *, whole=True):
        """The page as a PNG."""
        found = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        Path(path).write_bytes(b64decode(found["data"]))
