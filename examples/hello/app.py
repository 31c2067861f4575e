"""A greeting on a page: the smallest application that shows what Coracle does with one.

It needs nothing but Python's standard library. What it does for the platform's sake: it listens on
PORT, answers /healthz, keeps connections open between requests, and on SIGTERM finishes the requests
it has begun before it ends.
"""

import html
import os
import signal
import socket
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

# A connection without a request for this long is closed (seconds).
IDLE_SECONDS = 75
# Requests that were begun get this long to end after SIGTERM (seconds).
DRAIN_SECONDS = 20

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{greeting}</title>
<style>
  :root {{ --ground: #f6f4ef; --card: #fff; --ink: #1d2a33; --faint: #5d6b74; --line: #e3dfd5; --accent: #0f766e; }}
  @media (prefers-color-scheme: dark) {{
    :root {{ --ground: #10171c; --card: #182229; --ink: #e8eef1; --faint: #93a3ad; --line: #26333c; --accent: #5eead4; }}
  }}
  body {{ margin: 0; min-height: 100vh; display: grid; place-items: center; background: var(--ground); color: var(--ink);
    font: 1rem/1.6 system-ui, sans-serif; }}
  main {{ background: var(--card); border: 1px solid var(--line); border-radius: 1rem; padding: 2.5rem 3rem; max-width: 30rem; margin: 1rem; }}
  h1 {{ margin: 0 0 .25rem; font-size: 2rem; color: var(--accent); overflow-wrap: anywhere; }}
  p {{ margin: 0 0 1.5rem; color: var(--faint); }}
  dl {{ display: grid; grid-template-columns: auto 1fr; gap: .4rem 1.5rem; margin: 0; }}
  dt {{ color: var(--faint); }}
  dd {{ margin: 0; font-family: ui-monospace, monospace; overflow-wrap: anywhere; }}
</style>
<main>
  <h1>{greeting}</h1>
  <p>This page comes from a folder that became a URL.</p>
  <dl>
    <dt>pod</dt><dd>{pod}</dd>
    <dt>release</dt><dd>{release}</dd>
    <dt>address</dt><dd>{address}</dd>
  </dl>
</main>
</html>
"""


class Hello(BaseHTTPRequestHandler):
    """Answers every path with the page, and /healthz with `ok`."""

    protocol_version = "HTTP/1.1"  # keep-alive; the default closes after each answer
    timeout = IDLE_SECONDS
    # Headers and page are two small writes: without this the second waits for the first's acknowledgement.
    disable_nagle_algorithm = True
    wbufsize = -1

    def do_GET(self):
        if self.path == "/healthz":
            self.answer(b"ok\n", "text/plain; charset=utf-8")
            return
        facts = {
            "greeting": os.environ.get("GREETING", "hello"),
            "pod": socket.gethostname(),
            "release": os.environ.get("CORACLE_RELEASE", "unknown"),
            "address": self.connection.getsockname()[0],
        }
        page = PAGE.format(**{name: html.escape(value) for name, value in facts.items()})
        self.answer(page.encode(), "text/html; charset=utf-8")

    do_HEAD = do_GET

    def answer(self, body, content_type):
        self.server.begun()
        try:
            self.send_response(200)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Cache-Control", "no-store")
            if self.server.ending.is_set():
                self.send_header("Connection", "close")
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)
            self.wfile.flush()
        finally:
            self.server.ended()

    def log_request(self, code="-", size="-"):
        # Probes every other second would bury everything else.
        if self.path != "/healthz":
            super().log_request(code, size)


class Server(ThreadingHTTPServer):
    """A thread for each connection, and a count of the requests that are being answered."""

    daemon_threads = True
    # Python's own 5 refuses connections when a load generator opens 50 at once.
    request_queue_size = 256

    def __init__(self, address):
        super().__init__(address, Hello)
        self.ending = threading.Event()
        self._idle = threading.Condition()
        self._in_flight = 0

    def begun(self):
        with self._idle:
            self._in_flight += 1

    def ended(self):
        with self._idle:
            self._in_flight -= 1
            self._idle.notify_all()

    def drain(self):
        """Waits until no request is being answered, for DRAIN_SECONDS at most."""
        with self._idle:
            self._idle.wait_for(lambda: self._in_flight == 0, DRAIN_SECONDS)


def main():
    port = int(os.environ.get("PORT", "8080"))
    server = Server(("", port))

    def end(_signal, _frame):
        server.ending.set()
        # shutdown() waits for serve_forever(), which this very thread runs.
        threading.Thread(target=server.shutdown).start()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    print(f"listening on port {port}", flush=True)
    server.serve_forever(poll_interval=0.1)
    server.drain()
    print("ended", flush=True)


if __name__ == "__main__":
    sys.exit(main())
