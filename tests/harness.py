# SPDX-License-Identifier: MIT
"""What every end-to-end test starts from: the real daemon in a directory of its own, a receiver that
remembers each request, and waiting for a condition. Nothing here sleeps for a fixed time to let
something happen."""
import json
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import textwrap
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

BUILD = Path(os.environ.get("BELFRY_BUILD_DIR", Path(__file__).resolve().parent.parent / "build-asan"))
SANITIZER_LINES = ("AddressSanitizer", "runtime error:", "LeakSanitizer", "ThreadSanitizer")


def wait_for(condition, what, seconds=20):
    """Polls until condition() is true; returns its value."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.01)


def manual_block(page, first_line):
    """An example of a manual page, from its first line on, as a reader sees it: to an empty line that
    something else than the example follows."""
    shown = subprocess.run(["mandoc", "-T", "ascii", "-O", "width=200", Path(__file__).resolve().parent.parent / "man" / page],
                           capture_output=True, text=True, check=True).stdout
    shown = re.sub(r".\x08", "", shown)
    block = re.search(rf"^ *{re.escape(first_line)}\n(?: .*\n|\n(?= *\[))*", shown, re.M).group()
    return textwrap.dedent(block)


class Request:
    def __init__(self, method, path, headers, body):
        self.method, self.path, self.headers, self.body = method, path, headers, body
        self.at = time.time()

    @property
    def id(self):
        return self.headers.get("webhook-id")

    @property
    def event(self):
        return json.loads(self.body)


class Receiver:
    """Remembers every request. `answer` is called with the Request and gives a status, or
    (status, headers); replace it at will."""

    def __init__(self):
        self.requests, self.lock, self.n_open = [], threading.Lock(), 0
        self.answer = lambda request: 200
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def handle_any(self):
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                request = Request(self.command, self.path, {k.lower(): v for k, v in self.headers.items()}, body)
                request.from_port = self.client_address[1]
                answer = outer.answer(request)
                with outer.lock:
                    outer.requests.append(request)
                status, headers = answer if isinstance(answer, tuple) else (answer, {})
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("content-length", "0")
                self.end_headers()

            do_POST = do_PUT = do_PATCH = do_GET = do_DELETE = handle_any

            def log_message(self, *args):
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 256

            def get_request(self):
                with outer.lock:
                    pair = super().get_request()
                    outer.n_open += 1
                    return pair

            def shutdown_request(self, request):
                super().shutdown_request(request)
                with outer.lock:
                    outer.n_open -= 1

            def handle_error(self, request, address):
                pass  # a client that was killed mid-request is what these tests do

        self.server = None
        self.make = lambda port: Server(("127.0.0.1", port), Handler)
        self.port = 0
        self.start()

    def start(self):
        self.server = self.make(self.port)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def stop(self):
        if self.server:
            self.server.shutdown()
            self.server.server_close()
            self.server = None

    def quiet(self):
        """No connection is open, none waits to be accepted: all that was sent has been answered."""
        with self.lock:
            return self.n_open == 0 and not select.select([self.server.socket], [], [], 0)[0]

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}/hook"

    def all(self):
        with self.lock:
            return list(self.requests)

    def of_type(self, event_type):
        return [r for r in self.all() if b'"' + event_type.encode() + b'"' in r.body]

    def wait(self, n, seconds=20):
        wait_for(lambda: len(self.all()) >= n, f"{n} requests (have {len(self.all())})", seconds)
        return self.all()


class Daemon:
    def __init__(self, directory):
        self.directory = Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.state, self.run = self.directory / "state", self.directory / "run"
        self.config = self.directory / "belfry.conf"
        self.log = self.directory / "daemon.log"
        self.process = None
        self.programs = BUILD

    def own_programs(self, *paths):
        """Runs from a directory of its own, beside which the given modules of tests/e2e/modules stand:
        a daemon finds modules beside itself."""
        self.programs = self.directory / "bin"
        self.programs.mkdir()
        for path in (BUILD / "belfryd", *(BUILD / p for p in paths)):
            shutil.copy(path, self.programs)

    def write(self, text):
        self.config.write_text(text)
        self.config.chmod(0o644)

    def start(self, wait=True, env=None, state="running", seconds=20):
        environment = {"PATH": os.environ["PATH"], "ASAN_OPTIONS": "abort_on_error=0:detect_leaks=0",
                       "UBSAN_OPTIONS": "print_stacktrace=1", **(env or {})}
        self.process = subprocess.Popen(
            [self.programs / "belfryd", "-c", self.config, "--state-dir", self.state, "--runtime-dir", self.run],
            stderr=self.log.open("a"), stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL, env=environment)
        if wait:
            self.wait_state(state, seconds)
        return self

    def wait_state(self, state="running", seconds=20):
        def there():
            if self.process.poll() is not None:
                raise AssertionError(f"belfryd ended with {self.process.returncode}:\n{self.text()}")
            status = self.status()
            return status and status["state"] == state
        try:
            wait_for(there, f"state {state}", seconds)
        except AssertionError as e:
            raise AssertionError(f"{e}\nstatus: {self.status()}\n{self.text()}") from None

    def belfry(self, *arguments, check=None, stdin=None):
        r = subprocess.run([BUILD / "belfry", "--runtime-dir", self.run, *map(str, arguments)], capture_output=True, text=True,
                           timeout=60, input=stdin)
        if check is not None:
            assert r.returncode == check, f"belfry {arguments}: {r.returncode}\n{r.stdout}\n{r.stderr}"
        return r

    def status(self):
        """What `belfry status --json` prints, asked for on the control socket: tests poll it, and a process
        for each look, with sanitizers, would take more of the machine than all that they test. None: nobody
        answers."""
        directory = -1
        try:
            directory = os.open(self.run, os.O_PATH)  # a path of a test may be too long for an address
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as s:
                s.settimeout(30)
                s.connect(f"/proc/self/fd/{directory}/control")
                s.sendall(b'{"method":"io.belfry.Control.Status"}\0')
                answer = bytearray()
                while not answer.endswith(b"\0"):
                    part = s.recv(1 << 16)
                    if not part:
                        return None
                    answer += part
        except (FileNotFoundError, ConnectionRefusedError, ConnectionResetError, BrokenPipeError, TimeoutError):
            return None
        finally:
            if directory >= 0:
                os.close(directory)
        return json.loads(answer[:-1]).get("parameters")

    def sink(self, name="ops"):
        status = self.status()
        return next((s for s in status["sinks"] if s["name"] == name), None) if status else None

    def children(self):
        """name -> pid of the family's module processes."""
        found = {}
        for p in Path("/proc").iterdir():
            if not p.name.isdigit():
                continue
            try:
                stat = (p / "stat").read_text()
                if int(stat[stat.rindex(")") + 2:].split()[1]) != self.process.pid:
                    continue
                words = (p / "cmdline").read_bytes().decode().split("\0")
                if not words[1].startswith("--"):  # asked to describe itself, not one of the family yet
                    found[words[0]] = int(p.name)
            except (OSError, ValueError, IndexError):
                continue
        return found

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self, seconds=20):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(seconds)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise AssertionError(f"belfryd did not stop within {seconds} s\n{self.text()}") from None
        return self.process.returncode if self.process else None

    def text(self):
        return self.log.read_text(errors="replace")[-6000:] if self.log.exists() else ""

    def check_clean(self):
        for line in self.text().splitlines():
            assert not any(word in line for word in SANITIZER_LINES), self.text()


def simple_config(watched, url, source="", sink="", extra="", rule=""):
    return f'''store = {{ size = "64M"; }};
sources = {{ files = {{ module = "inotify"; paths = [ "{watched}" ]; {source} }}; }};
sinks = {{ ops = {{ module = "http"; url = "{url}"; {sink} }}; }};
rules = ( {{ name = "all"; from = [ "files" ]; to = [ "ops" ]; {rule} }} );
{extra}
'''
