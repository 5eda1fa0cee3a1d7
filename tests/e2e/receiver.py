# SPDX-License-Identifier: MIT
"""A receiver of webhooks that misbehaves on demand.

The first part of a request's path names what is done to it (a method `do_NAME` of Connection, with
`-` for `_`); query parameters are its arguments. Some things happen before there is a path (a reset
at accept, a stalled handshake): for those a listener of its own is opened with `listen(accept=...)`.
Every request is recorded raw. It runs in a thread of its own; run as a program it prints its port.
"""

import asyncio
import datetime
import gzip
import socket
import ssl
import struct
import subprocess
import threading
import time
import urllib.parse


BOMB = gzip.compress(b"\0" * 20_000_000)


class Request:
    def __init__(self, raw, head, body, connection):
        self.raw, self.body, self.connection, self.at = raw, body, connection, time.time()
        lines = head.decode("latin-1").split("\r\n")
        self.method, self.target, self.version = lines[0].split(" ")
        self.header_lines = [line for line in lines[1:] if line]
        self.headers = {n.lower(): v.strip() for n, v in (line.split(":", 1) for line in self.header_lines)}
        parts = urllib.parse.urlsplit(self.target)
        self.path, self.query = parts.path, dict(urllib.parse.parse_qsl(parts.query))


def date(seconds):
    """An HTTP-date so many seconds from now."""
    t = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=seconds)
    return t.strftime("%a, %d %b %Y %H:%M:%S GMT")


class Connection:
    def __init__(self, receiver, reader, writer):
        self.receiver, self.reader, self.writer = receiver, reader, writer
        self.seen = {}  # requests of this connection by path

    async def send(self, data):
        self.writer.write(data.encode("latin-1") if isinstance(data, str) else data)
        await self.writer.drain()

    async def reply(self, status="200 OK", headers=(), body=b""):
        lines = [f"HTTP/1.1 {status}", *headers, f"Content-Length: {len(body)}", "", ""]
        await self.send("\r\n".join(lines).encode("latin-1") + body)

    def reset(self):
        """Close with RST."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def forever(self, data, pause=0.0):
        while not self.writer.is_closing():
            await self.send(data)
            await asyncio.sleep(pause)

    async def read_request(self):
        head = await self.reader.readuntil(b"\r\n\r\n")
        early = head.split(b" ", 2)[1].split(b"?")[0].strip(b"/").decode() if b" " in head else ""
        fields = {n.strip().lower(): v.strip() for n, _, v in
                  (line.partition(b":") for line in head.split(b"\r\n")[1:])}
        if early.startswith("early"):
            body = b""
        else:
            body = await self.reader.readexactly(int(fields.get(b"content-length", 0)))
        return Request(head + body, head, body, self)

    async def serve(self):
        try:
            while True:
                request = await self.read_request()
                self.seen[request.path] = self.seen.get(request.path, 0) + 1
                self.receiver.requests.append(request)
                name = request.path.strip("/").split("/")[0].replace("-", "_") or "ok"
                action = getattr(self, "do_" + name)
                if await action(request) is False:
                    return
        except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError, TimeoutError):
            pass
        finally:
            self.writer.close()

    # Good behaviour.
    async def do_ok(self, r):
        await self.reply()

    async def do_status(self, r):
        """/status/503?retry-after=5&reason=..."""
        headers = [f"{n}: {v}" for n, v in r.query.items() if n != "reason"]
        await self.reply(r.path.split("/")[2] + " " + r.query.get("reason", "Said So"), headers)

    async def do_delay(self, r):
        await asyncio.sleep(float(r.path.split("/")[2]))
        await self.reply()

    async def do_script(self, r):
        """Statuses from receiver.script, one a request; then 200."""
        await self.reply(self.receiver.script.pop(0) if self.receiver.script else "200 OK")

    async def do_echo(self, r):
        await self.reply("200 OK", [], r.raw)

    async def do_trailers(self, r):
        await self.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX: y\r\n\r\n")

    async def do_continue(self, r):
        await self.send("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
        await self.reply()

    # Ends before a head.
    async def do_rst_request(self, r):
        self.reset()
        return False

    async def do_close(self, r):
        return False

    async def do_silence(self, r):
        await asyncio.sleep(3600)

    async def do_rst_head(self, r):
        await self.send("HTTP/1.1 200 O")
        await asyncio.sleep(0.05)
        self.reset()
        return False

    async def do_slow_head(self, r):
        for c in "HTTP/1.1 200 OK\r\n" + "X: " + "y" * 10000:
            await self.send(c)
            await asyncio.sleep(1)

    async def do_endless_headers(self, r):
        await self.send("HTTP/1.1 200 OK\r\n")
        await self.forever("X-Header: " + "y" * 1000 + "\r\n")

    async def do_huge_header(self, r):
        await self.send("HTTP/1.1 200 OK\r\nX-Header: ")
        for _ in range(100):
            await self.send("y" * 1000000)

    async def do_flood_1xx(self, r):
        await self.forever("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")

    async def do_only_1xx(self, r):
        await self.send("HTTP/1.1 103 Early Hints\r\n\r\n")
        return False

    async def do_early(self, r):
        """Answers before the body is read, and reads it then."""
        await self.reply()
        await self.reader.readexactly(int(r.headers["content-length"]))

    async def do_early_close(self, r):
        """Answers before the body is read and goes away."""
        await self.reply("200 OK", ["Connection: close"])
        await asyncio.sleep(0.05)
        return False

    async def do_early_refuse(self, r):
        await self.reply("413 Too Large", ["Connection: close"])
        await asyncio.sleep(0.05)
        return False

    # Not HTTP, or odd HTTP.
    async def do_http09(self, r):
        await self.send("<html>hello</html>\n")
        return False

    async def do_raw(self, r):
        """Exactly the bytes of receiver.raw, then closes."""
        await self.send(self.receiver.raw)
        await asyncio.sleep(0.05)
        return False

    async def do_raw_keep(self, r):
        await self.send(self.receiver.raw)

    # A head, then trouble.
    async def do_rst_body(self, r):
        await self.send(f"HTTP/1.1 {r.query.get('status', '200')} X\r\nContent-Length: 1000\r\n\r\nabc")
        await asyncio.sleep(0.05)
        self.reset()
        return False

    async def do_slow_body(self, r):
        await self.send(f"HTTP/1.1 {r.query.get('status', '200')} X\r\nContent-Length: 10000\r\n\r\n")
        await self.forever("z", 1)

    async def do_endless_body(self, r):
        await self.send(f"HTTP/1.1 {r.query.get('status', '200')} X\r\nTransfer-Encoding: chunked\r\n\r\n")
        await self.forever("1000\r\n" + "z" * 4096 + "\r\n")

    async def do_body(self, r):
        await self.reply(r.query.get("status", "200 OK"), [], b"z" * int(r.query["bytes"]))

    async def do_gzip_bomb(self, r):
        await self.reply("200 OK", ["Content-Encoding: gzip"], BOMB)

    async def do_extra(self, r):
        """204 with a body."""
        await self.send("HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello")

    # Keep-alive that is not.
    async def do_close_after(self, r):
        await self.reply()
        return False

    async def do_rst_second(self, r):
        """Answers the first such request of a connection, resets at the second without a byte."""
        if self.seen[r.path] > 1:
            self.reset()
            return False
        await self.reply()

    async def do_half_second(self, r):
        """The second such request of a connection is read, and the first line of a head comes back."""
        if self.seen[r.path] > 1:
            await self.send("HTTP/1.1 200 OK\r\n")
            await asyncio.sleep(0.05)
            self.reset()
            return False
        await self.reply()


class Http2Connection:
    """Just enough HTTP/2 without TLS to misbehave: `mode` of the listener says how."""

    def __init__(self, receiver, reader, writer, mode):
        self.receiver, self.reader, self.writer, self.mode = receiver, reader, writer, mode

    @staticmethod
    def frame(kind, flags, stream, payload=b""):
        return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload

    async def send(self, *frames):
        self.writer.write(b"".join(frames))
        await self.writer.drain()

    async def answer(self, stream):
        f = self.frame
        ok = f(1, 5, stream, b"\x88")  # HEADERS, END_STREAM | END_HEADERS, ":status: 200"
        if self.mode == "early":
            await self.send(ok)
            await asyncio.sleep(0.05)
            await self.send(f(3, 0, stream, struct.pack(">I", 0)))
        elif self.mode == "rst":
            await self.send(f(3, 0, stream, struct.pack(">I", 2)))
        elif self.mode == "goaway":
            await self.send(f(7, 0, 0, struct.pack(">II", 0, 0)))
            self.writer.close()
        elif self.mode == "settings-flood":
            while not self.writer.is_closing():
                await self.send(f(4, 0, 0, struct.pack(">HI", 3, 100)) * 100)
        elif self.mode == "garbage":
            await self.send(b"\xff" * 100)

    async def serve(self):
        try:
            await self.reader.readexactly(24)
            await self.send(self.frame(4, 0, 0))
            while True:
                head = await self.reader.readexactly(9)
                size, kind, flags = int.from_bytes(head[:3], "big"), head[3], head[4]
                stream = int.from_bytes(head[5:], "big")
                await self.reader.readexactly(size)
                if kind == 0 and size and self.mode == "ok":
                    room = struct.pack(">I", size)
                    await self.send(self.frame(8, 0, 0, room), self.frame(8, 0, stream, room))
                if kind == 4 and not flags & 1:
                    await self.send(self.frame(4, 1, 0))
                if kind == 1:
                    self.receiver.http2_requests.append(stream)
                    if self.mode != "ok":
                        await self.answer(stream)
                if self.mode == "ok" and kind in (0, 1) and flags & 1:
                    await self.send(self.frame(1, 5, stream, b"\x88"))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.writer.close()


class Receiver:
    def __init__(self):
        self.requests, self.http2_requests, self.script, self.raw = [], [], [], b""
        self.n_connections, self.servers = 0, []
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        self.port = self.listen()
        self.url = f"http://127.0.0.1:{self.port}"

    def __enter__(self):
        return self

    def __exit__(self, *rest):
        self.close()

    def run(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(30)

    async def accept(self, reader, writer, how, h2):
        self.n_connections += 1
        if how == "rst":
            sock = writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
        elif how == "silence":
            await asyncio.sleep(3600)
        elif h2:
            await Http2Connection(self, reader, writer, h2).serve()
        else:
            await Connection(self, reader, writer).serve()

    def listen(self, tls=None, accept=None, h2=None, host="127.0.0.1", port=0):
        """A further listener; returns its port. accept: "rst" or "silence"."""
        async def start():
            return await asyncio.start_server(lambda r, w: self.accept(r, w, accept, h2), host, port, ssl=tls,
                                              limit=1 << 26)
        server = self.run(start())
        self.servers.append(server)
        return server.sockets[0].getsockname()[1]

    def close(self):
        async def stop():
            for server in self.servers:
                server.close()
            for task in asyncio.all_tasks():
                if task is not asyncio.current_task():
                    task.cancel()
        self.run(stop())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(10)


def make_certificate(directory, name, hosts, days=30, not_before=None, not_after=None, ca=None):
    """A key and certificate made by openssl; returns (certificate path, key path)."""
    cert, key, request, extensions = (f"{directory}/{name}.{e}" for e in ("pem", "key", "csr", "ext"))

    def run(*command):
        subprocess.run(["openssl", *command], check=True, capture_output=True)

    run("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", key,
        "-out", request, "-subj", f"/CN={name}")
    with open(extensions, "w") as f:
        names = ",".join(("IP:" if h[0].isdigit() else "DNS:") + h for h in hosts)
        f.write(f"basicConstraints=critical,CA:{'FALSE' if ca else 'TRUE'}\nsubjectAltName={names}\n")
    if ca and not_after:
        index = f"{directory}/{name}.index"
        open(index, "w").close()
        with open(f"{directory}/{name}.cnf", "w") as f:
            f.write(f"[ca]\ndefault_ca=x\n[x]\ndatabase={index}\nnew_certs_dir={directory}\ndefault_md=sha256\n"
                    f"rand_serial=yes\npolicy=p\nunique_subject=no\n[p]\ncommonName=supplied\n")
        run("ca", "-batch", "-config", f"{directory}/{name}.cnf", "-in", request, "-out", cert, "-cert", ca[0],
            "-keyfile", ca[1], "-extfile", extensions, "-startdate", not_before, "-enddate", not_after,
            "-notext")
    elif ca:
        run("x509", "-req", "-in", request, "-days", str(days), "-CA", ca[0], "-CAkey", ca[1], "-CAcreateserial",
            "-extfile", extensions, "-out", cert)
    else:
        run("x509", "-req", "-in", request, "-days", str(days), "-signkey", key, "-extfile", extensions, "-out", cert)
    return cert, key


def tls_context(certificate, maximum=None):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if maximum:
        context.set_ciphers("ALL:@SECLEVEL=0")
        context.minimum_version = context.maximum_version = maximum
    context.load_cert_chain(*certificate)
    return context


if __name__ == "__main__":
    with Receiver() as receiver:
        print(receiver.port, flush=True)
        threading.Event().wait()
