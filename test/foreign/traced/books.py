"""A program of the Python SDK with OpenTelemetry's own SDK: settles orders, in one trace with all that calls it."""

import json
import logging
import sys
import threading

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from hms_ffi.client import Client
from hms_ffi.events import Event, Events
from hms_ffi.service import method, serve, service
from hms_ffi.tracing import TraceFilter

# Where the collector is says OTEL_EXPORTER_OTLP_ENDPOINT, as in every program with this exporter.
provider = TracerProvider(resource=Resource.create({"service.name": "books"}))
provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(), schedule_delay_millis=100))
trace.set_tracer_provider(provider)

lines = logging.StreamHandler(sys.stdout)
lines.addFilter(TraceFilter())
lines.setFormatter(logging.Formatter('{"message": "%(message)s", "traceId": "%(trace_id)s"}'))
log = logging.getLogger("books")
log.setLevel(logging.INFO)
log.addHandler(lines)

greeter = Client("helloworld")
shop = Client("demo.shop")
events = Events()


@service("demo.books")
class Books:
    @method
    def settle(self, name: str) -> dict:
        log.info("books settles")
        greeting = greeter.call("SayHello", {"name": name})["message"]
        shipping = shop.start("Ship", {})
        events.publish("demo.traced.books.settled", {"name": name}, durable=True)
        shipping.result(30)
        return {"greeting": greeting}

    @method
    async def archive(self, name: str) -> dict:
        log.info("books archives")
        return {}


def hear(event: Event) -> None:
    said = {"message": f"books hears {event.topic}", "traceId": event.extensions["traceparent"].split("-")[1]}
    print(json.dumps(said), flush=True)


def ready() -> None:
    print(json.dumps({"message": "books is ready"}), flush=True)


heard = events.subscribe("demo.traced.shop.*", group="books", on_subscribed=ready)
threading.Thread(target=heard.consume, args=(hear,), daemon=True).start()
serve(Books())
provider.shutdown()
