"""A hub of a few lines, whose answers a test chooses and whose requests it sees."""
import http.server
import json
import socket
import struct
import threading


class Request:
    def __init__(self, method, path, headers, body):
        self.method, self.path, self.headers, self.body = method, path, headers, body

    @property
    def json(self):
        return json.loads(self.body)


class Answer:
    """`body` may be a dict or bytes. `cut` breaks the connection after so many bytes of it."""

    def __init__(self, body=b"", status=200, headers=None, cut=None):
        self.status, self.headers, self.cut = status, dict(headers or {}), cut
        if isinstance(body, (dict, list)):
            kind = "application/problem+json" if status >= 400 else "application/json"
            self.headers.setdefault("Content-Type", kind)
            body = json.dumps(body).encode()
        self.body = body


def problem(status, detail, kind):
    return Answer({"type": "about:blank", "title": detail, "status": status, "detail": detail, "kind": kind}, status)


class FakeHub:
    def __init__(self):
        self.requests = []
        self.routes = {}  # "GET /path" → an Answer, a list of them (the last one stays), or a function of the request
        hub = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self):
                length = int(self.headers.get("Content-Length") or 0)
                body = self.rfile.read(length)
                if self.headers.get("Transfer-Encoding") == "chunked":
                    while size := int(self.rfile.readline(), 16):
                        body += self.rfile.read(size)
                        self.rfile.readline()
                    self.rfile.readline()
                request = Request(self.command, self.path, dict(self.headers), body)
                hub.requests.append(request)
                self.answer(hub.find(request))

            do_GET = do_POST = do_DELETE = handle_any

            def answer(self, answer):
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(answer.body)))
                self.end_headers()
                if answer.cut is None:
                    self.wfile.write(answer.body)
                    return
                self.wfile.write(answer.body[:answer.cut])
                self.wfile.flush()
                # An end by reset, as when the hub is killed.
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.close_connection = True
                self.connection.close()

            def log_message(self, *args):
                pass

            def handle(self):
                try:
                    super().handle()
                except (ConnectionError, BrokenPipeError, ValueError):
                    pass  # a client that went away, or a connection cut on purpose

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request, client_address):
                pass

        self.server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def find(self, request):
        route = self.routes.get(f"{request.method} {request.path.split('?')[0]}")
        if callable(route):
            route = route(request)
        if isinstance(route, list):
            route = route.pop(0) if len(route) > 1 else route[0]
        return route or problem(404, f"nothing at {request.path}", "not_found")

    def seen(self, method, path):
        return [r for r in self.requests if r.method == method and r.path.split("?")[0] == path]

    def close(self):
        self.server.shutdown()
        self.server.server_close()
