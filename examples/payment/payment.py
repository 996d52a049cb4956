"""Takes payments and has a receipt sent for each one. Python's standard library only."""

import http.client
import json
import os
import signal
import socket
import sys
import threading
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

RECEIPT_URL = "http://receipt-svc.mesh/receipt"
RECEIPT_TIMEOUT_S = 10
MAX_BODY_BYTES = 64 * 1024


class Refusal(Exception):
    """An answer other than 200: the status and what to tell the caller."""

    def __init__(self, status, message):
        super().__init__(message)
        self.status = status


def parse_payment(raw):
    """The e-mail address and the amount of a request body."""
    try:
        payment = json.loads(raw)
    except (UnicodeDecodeError, ValueError, RecursionError):
        raise Refusal(400, "The body is not JSON.") from None
    if not isinstance(payment, dict):
        raise Refusal(400, 'The body must be an object: {"email": "a@b.c", "amount": 12}.')
    email, amount = payment.get("email"), payment.get("amount")
    if not isinstance(email, str) or not 3 <= len(email) <= 254 or "@" not in email[1:-1]:
        raise Refusal(422, '"email" must be an e-mail address.')
    is_number = isinstance(amount, (int, float)) and not isinstance(amount, bool)
    if not is_number or not 0 < amount <= 1_000_000:
        raise Refusal(422, '"amount" must be a number above 0, at most 1000000.')
    return email, amount


def send_receipt(email, amount, headers):
    """Has the receipt sent and answers with its reference."""
    body = json.dumps({"email": email, "amount": amount}).encode()
    request = urllib.request.Request(RECEIPT_URL, data=body, headers={"content-type": "application/json", **headers})
    try:
        with urllib.request.urlopen(request, timeout=RECEIPT_TIMEOUT_S) as response:
            return json.load(response)["ref"]
    except urllib.error.HTTPError as error:
        with error:
            raise Refusal(502, f"The receipt service answered {error.code}.") from error
    except TimeoutError as error:
        raise Refusal(504, "The receipt service did not answer in time.") from error
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError) as error:
        reason = getattr(error, "reason", error)
        if isinstance(reason, TimeoutError):
            raise Refusal(504, "The receipt service did not answer in time.") from error
        raise Refusal(502, f"The receipt service could not be reached: {reason}.") from error


class PaymentHandler(BaseHTTPRequestHandler):
    """POST /pay; anything else is refused."""

    protocol_version = "HTTP/1.1"
    server_version = "payment"
    wbufsize = -1  # head and body leave in one packet

    busy = False

    def setup(self):
        """Makes the connection known to the server."""
        super().setup()
        self.server.connections.add(self)
        if self.server.stopping:
            self.end_if_idle()

    def finish(self):
        """Forgets the connection."""
        self.server.connections.discard(self)
        super().finish()

    def parse_request(self):
        """From here on the connection has a request to be answered."""
        self.busy = True
        return super().parse_request()

    def handle_one_request(self):
        """Answers one request; the last one if the server stops."""
        super().handle_one_request()
        self.busy = False
        if self.server.stopping:
            self.close_connection = True

    def end_if_idle(self):
        """Ends the wait for a further request, if there is none at work."""
        if not self.busy:
            try:
                self.connection.shutdown(socket.SHUT_RD)
            except OSError:
                pass  # the caller has hung up already

    def do_POST(self):
        """Pays, or says why not."""
        try:
            raw = self.read_body()
            if self.path.partition("?")[0] != "/pay":
                raise Refusal(404, "There is only POST /pay.")
            email, amount = parse_payment(raw)
            # Passed on, so that both services' logs tell of the same request.
            passed = {name: self.headers[name] for name in ("x-request-id", "traceparent") if self.headers[name]}
            ref = send_receipt(email, amount, passed)
        except Refusal as refusal:
            print(f"Refused: {refusal}", flush=True)
            self.answer(refusal.status, {"ok": False, "error": str(refusal)})
        else:
            print(f"Charged {email!r} {amount}, receipt {ref}", flush=True)
            self.answer(200, {"ok": True, "ref": ref})

    def do_GET(self):
        """Answers the platform's question for health."""
        if self.path.partition("?")[0] == "/healthz":
            self.answer(200, {"ok": True})
        else:
            self.refuse_method()

    def refuse_method(self):
        """Payments are not for reading."""
        known = self.path.partition("?")[0] == "/pay"
        self.answer(405 if known else 404, {"ok": False, "error": "There is only POST /pay."})

    do_HEAD = do_PUT = do_PATCH = do_DELETE = refuse_method

    def read_body(self):
        """The request's body; the connection ends if it cannot be read to its end."""
        try:
            length = int(self.headers["content-length"])
        except (TypeError, ValueError):
            self.close_connection = True
            raise Refusal(411, "The request needs a Content-Length.") from None
        if not 0 <= length <= MAX_BODY_BYTES:
            self.close_connection = True
            raise Refusal(413, f"The body may have {MAX_BODY_BYTES} bytes.")
        return self.rfile.read(length)

    def answer(self, status, content):
        """Sends a JSON answer."""
        body = json.dumps(content, separators=(",", ":")).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        if status == 405:
            self.send_header("allow", "POST")
        if self.command != "POST" or self.server.stopping:
            self.close_connection = True
        if self.close_connection:
            self.send_header("connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        self.wfile.flush()

    def log_message(self, format, *args):
        """Nothing: what is worth a line is printed where it happens."""


class PaymentServer(ThreadingHTTPServer):
    """Answers every request that has begun before it ends."""

    daemon_threads = False
    request_queue_size = 512

    def __init__(self, port):
        self.connections = set()
        self.stopping = False
        super().__init__(("127.0.0.1", port), PaymentHandler)

    def stop(self):
        """Takes no new connection and ends those without a request."""
        self.stopping = True
        self.shutdown()
        for connection in list(self.connections):
            connection.end_if_idle()

    def handle_error(self, request, client_address):
        """One line for a connection that broke."""
        print(f"A connection broke: {sys.exc_info()[1]!r}", flush=True)


def main():
    """Serves until SIGTERM or SIGINT."""
    server = PaymentServer(int(os.environ.get("PORT", "3000")))

    def stop(_number, _frame):
        # shutdown() waits for serve_forever(), which runs in this thread.
        threading.Thread(target=server.stop).start()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    with server:
        server.serve_forever(poll_interval=0.1)


if __name__ == "__main__":
    main()
