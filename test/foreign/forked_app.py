"""A WSGI application whose client is made, and used, before gunicorn forks its workers."""

import json
import os

from hms_ffi.client import Client

client = Client("demo.echo", address=os.environ["ECHO_ADDRESS"], contract=False)
client.call("Echo", {"text": "before the fork"}, timeout=5)


def app(environ, start_response):
    answer = client.call("Echo", {"text": environ["PATH_INFO"]}, timeout=5)
    start_response("200 OK", [("content-type", "application/json")])
    return [json.dumps({"pid": os.getpid(), "text": answer["text"]}).encode()]
