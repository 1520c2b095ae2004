"""libcurl, as PyPI's curl-cffi ships it, as one of the clients of src/bin/tunnels.

Does the jobs that it reads from its input and prints the answers. See job.rs there for a job's fields. The first argument
is the file of the root certificate, the second one the type of the proxy: `h1` or `h2`.

A client is a multi handle with its pool of connections, and an easy handle for each request at a time.
"""

import ctypes
import sys
import time

from curl_cffi import Curl, CurlMOpt, CurlOpt
from curl_cffi._wrapper import ffi, lib

ROOT = sys.argv[1]
# CURLPROXY_HTTPS and CURLPROXY_HTTPS2 of curl.h.
PROXY_TYPE = {"h1": 2, "h2": 3}[sys.argv[2]]
DOMAIN = "bench.test"
PIECE = 64 << 10
CURLMSG_DONE = 1


class Content:
    """A host's content: its name and a line feed, over and over."""

    def __init__(self, host, length):
        line = f"{host}\n".encode()
        self.block = line * (min(length, PIECE) // len(line) + 2)
        self.period = len(line)
        self.length = length
        self.at = 0

    def take(self, most):
        length = min(self.length - self.at, most, PIECE)
        start = self.at % self.period
        self.at += length
        return self.block[start : start + length]

    def expect(self, received):
        at = 0
        while at < len(received):
            piece = self.take(len(received) - at)
            if not piece or not received.startswith(piece, at):
                raise ValueError(f"other content than expected before byte {self.at}")
            at += len(piece)


class Transfer:
    """An easy handle, used for one request after the other."""

    def __init__(self, job):
        self.job = job
        self.curl = Curl(cacert=ROOT)
        option = self.curl.setopt
        option(CurlOpt.CAINFO, ROOT)
        option(CurlOpt.PROXY_CAINFO, ROOT)
        option(CurlOpt.WRITEFUNCTION, self.received)
        option(CurlOpt.NOPROXY, "")
        if job.proxy == "-":
            option(CurlOpt.PROXY, "")
        else:
            option(CurlOpt.PROXY, job.proxy)
            option(CurlOpt.PROXYTYPE, PROXY_TYPE)
            option(CurlOpt.HTTPPROXYTUNNEL, int(job.inside != "forward"))
            # The head of the response to CONNECT is for nobody.
            option(CurlOpt.SUPPRESS_CONNECT_HEADERS, 1)
        if job.verb == "put":
            option(CurlOpt.POST, 1)
            option(CurlOpt.POSTFIELDSIZE_LARGE, job.bytes)
            option(CurlOpt.READFUNCTION, self.send)
            option(CurlOpt.HTTPHEADER, [b"Expect:", b"Content-Type: application/octet-stream"])
            option(CurlOpt.UPLOAD_BUFFERSIZE, PIECE)

    def aim(self, number):
        host = "127.0.0.1" if self.job.proxy == "-" else f"h{number}.{DOMAIN}"
        scheme = "https" if self.job.inside == "https" else "http"
        path = "take" if self.job.verb == "put" else f"bytes/{self.job.bytes}"
        self.expected = Content(host, self.job.bytes)
        if self.job.verb == "put":
            self.sent, self.expected = self.expected, Content("taken", 6)
        self.first = None
        self.error = None
        self.curl.setopt(CurlOpt.URL, f"{scheme}://{host}:{self.job.port}/{path}")

    def received(self, data):
        if self.first is None:
            self.first = time.perf_counter_ns()
        try:
            self.expected.expect(data)
        except ValueError as error:
            self.error = error
        return len(data)

    def send(self, most):
        return self.sent.take(most)

    def end(self, code):
        if code != 0:
            raise RuntimeError(ffi.string(lib.curl_easy_strerror(code)).decode())
        if self.error is not None:
            raise self.error
        if self.expected.at != self.expected.length:
            raise ValueError(f"{self.expected.length - self.expected.at} bytes are missing")


class Client:
    def __init__(self, job):
        self.job = job
        self.multi = lib.curl_multi_init()
        # The binding takes a pointer for a number.
        lib.curl_multi_setopt(self.multi, CurlMOpt.MAXCONNECTS, ffi.cast("void *", 1000))
        self.transfers = [Transfer(job) for _ in range(job.concurrency)]
        self.numbers = [ffi.new("int *") for _ in range(3)]

    def drive(self, hosts, concurrency):
        """Asks these hosts, so many of them at a time."""
        hosts = iter(hosts)
        idle = self.transfers[:concurrency]
        busy = {}
        running, left, descriptors = self.numbers
        more = True
        while True:
            while more and idle:
                host = next(hosts, None)
                if host is None:
                    more = False
                    break
                transfer = idle.pop()
                transfer.aim(host)
                lib.curl_multi_add_handle(self.multi, transfer.curl._curl)
                busy[transfer.curl._curl] = transfer
            if not busy:
                return
            lib.curl_multi_perform(self.multi, running)
            ended = False
            while True:
                message = lib.curl_multi_info_read(self.multi, left)
                if message == ffi.NULL:
                    break
                if message.msg == CURLMSG_DONE:
                    code = message.data.result
                    transfer = busy.pop(message.easy_handle)
                    lib.curl_multi_remove_handle(self.multi, transfer.curl._curl)
                    transfer.end(code)
                    idle.append(transfer)
                    ended = True
            if not ended:
                lib.curl_multi_poll(self.multi, ffi.NULL, 0, 1000, descriptors)

    def close(self):
        for transfer in self.transfers:
            transfer.curl.close()
        lib.curl_multi_cleanup(self.multi)


class Job:
    def __init__(self, words):
        self.verb, self.proxy, self.inside = words[:3]
        numbers = (int(word) for word in words[3:])
        self.port, self.hosts, self.warm, self.concurrency, self.repeats, self.bytes = numbers

    def answer(self):
        if self.inside == "raw":
            raise ValueError("libcurl does not do raw tunnels here")
        return {"get": self.measure, "put": self.measure, "trips": self.trips, "idle": self.idle}[self.verb]()

    def measure(self):
        nanos = cpu = 0
        for _ in range(self.repeats):
            client = Client(self)
            client.drive(range(self.warm), 1)
            cpu_before, start = time.process_time_ns(), time.perf_counter_ns()
            client.drive(range(self.warm, self.hosts), self.concurrency)
            nanos += time.perf_counter_ns() - start
            cpu += time.process_time_ns() - cpu_before
            client.close()
            time.sleep(0.005)
        return f"{nanos} {cpu}"

    def trips(self):
        client = Client(self)
        times = []
        for host in range(self.hosts):
            start = time.perf_counter_ns()
            client.drive([host], 1)
            times.append(str(client.transfers[0].first - start))
        client.close()
        return " ".join(times)

    def idle(self):
        global kept
        client = Client(self)
        client.drive(range(self.warm), 1)
        before = live()
        client.drive(range(self.warm, self.hosts), 1)
        grown = live() - before
        kept = client
        return str(grown)


kept = None


class Mallinfo2(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_size_t)
        for name in "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split()
    ]


libc = ctypes.CDLL(None)
libc.mallinfo2.restype = Mallinfo2


def live():
    """The bytes that malloc has given out. Python's own small objects are elsewhere."""
    time.sleep(0.3)
    info = libc.mallinfo2()
    return info.uordblks + info.hblkhd


for line in sys.stdin:
    try:
        print(Job(line.split()).answer(), flush=True)
    except Exception as error:
        print(f"error: {error!r}", flush=True)
