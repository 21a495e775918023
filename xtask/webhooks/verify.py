"""Receives webhooks of a running service and verifies them with the standard's own library.

Takes the address of the service and the tokens of a storefront and of an admin; ends with 0 when everything that was
sent was verified, and what was bent was not.
"""

import json
import queue
import sys
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

PATIENCE_S = 30
calls = queue.Queue()


class Receiver(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        calls.put((dict(self.headers.items()), body))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


def send(url, path, token, body):
    request = urllib.request.Request(f"{url}{path}", json.dumps(body).encode(), method="POST")
    request.add_header("Content-Type", "application/json")
    request.add_header("Authorization", f"Bearer {token}")
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


def verified(secrets, event):
    """The next call, which must be this event and verify with each of these secrets."""
    headers, body = calls.get(timeout=PATIENCE_S)
    headers = {name.lower(): value for name, value in headers.items()}
    for secret in secrets:
        told = Webhook(secret).verify(body, headers)
        assert told["type"] == event, (told["type"], event)
        for bent in (body + b" ", body.replace(b"USD", b"EUR")):
            try:
                Webhook(secret).verify(bent, headers)
            except WebhookVerificationError:
                continue
            raise AssertionError("a body that was bent was verified")
    print(f"verified {event} with {len(secrets)} secret(s): {headers['webhook-id']}")
    return told


def order(url, storefront, sku, buyer):
    held = send(url, "/api/reserve", storefront, {"sku": sku, "user_id": buyer})
    return send(url, "/api/checkout", storefront, {"reservation_id": held["reservation_id"]})


def main(url, storefront, admin):
    receiver = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=receiver.serve_forever, daemon=True).start()
    sku = f"WEBHOOK-{time.time_ns()}"
    product = {"sku": sku, "name": "Phone", "price": "10.00", "total_stock": 5}
    send(url, "/api/products", admin, product)
    endpoint = send(
        url,
        "/api/webhook-endpoints",
        storefront,
        {
            "url": f"http://127.0.0.1:{receiver.server_port}/hooks",
            "events": ["order.paid", "order.refunded"],
        },
    )
    first = order(url, storefront, sku, "buyer-1")
    told = verified([endpoint["secret"]], "order.paid")
    assert told["data"]["order_id"] == first["id"]
    send(url, f"/api/orders/{first['id']}/refund", admin, {})
    verified([endpoint["secret"]], "order.refunded")
    path = f"/api/webhook-endpoints/{endpoint['id']}/rotate-secret"
    rotated = send(url, path, storefront, {})
    order(url, storefront, sku, "buyer-2")
    verified([endpoint["secret"], rotated["secret"]], "order.paid")


if __name__ == "__main__":
    main(*sys.argv[1:])
