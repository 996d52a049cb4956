"""One Python client under load: `python-client.py NAME PATH CONTRACT`; orders and results are lines of JSON."""

import json
import resource
import sys
import time
from pathlib import Path

REQUEST = {"service_id": "hms.cdf.debate", "version": "v1", "environment": "default"}
SERVICE = "hms.ffi.v1.RegistryService"


def messages(contract):
    """Generated classes of the request and the answer."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    pool = descriptor_pool.DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString(contract).file:
        pool.Add(file)
    names = (f"hms.ffi.v1.Lookup{kind}" for kind in ("Request", "Response"))
    return [message_factory.GetMessageClass(pool.FindMessageTypeByName(name)) for name in names]


def hms(path, contract, ticket):
    """This SDK with the same generated messages as the rival."""
    from hms_ffi.client import Client

    request, _ = messages(contract)
    client = Client("hms.ffi", service="RegistryService", address=f"unix:{path}", ticket=ticket, contract=False)
    asked = request(**REQUEST)
    return lambda: client.call("Lookup", asked)


def hms_json(path, contract, ticket):
    """This SDK with the standard library alone, led by the contract."""
    from hms_ffi.client import Client

    client = Client("hms.ffi", service="RegistryService", address=f"unix:{path}", ticket=ticket, contract=contract)
    return lambda: client.call("Lookup", REQUEST)


def grpcio(path, contract, _):
    """grpcio, with the options it has by itself."""
    import grpc

    request, response = messages(contract)
    channel = grpc.insecure_channel(f"unix:{path}")
    lookup = channel.unary_unary(
        f"/{SERVICE}/Lookup", request_serializer=request.SerializeToString, response_deserializer=response.FromString
    )
    asked = request(**REQUEST)
    return lambda: lookup(asked, timeout=30)


def measure(call, seconds):
    """Calls one after the other for a while."""
    samples = []
    before = resource.getrusage(resource.RUSAGE_SELF)
    begun = now = time.perf_counter()
    end = begun + seconds
    while now < end:
        call()
        after = time.perf_counter()
        samples.append(after - now)
        now = after
    used = resource.getrusage(resource.RUSAGE_SELF)
    samples.sort()
    count = len(samples)
    return {
        "calls": count,
        "p50Us": samples[count // 2] * 1e6,
        "p99Us": samples[int(count * 0.99)] * 1e6,
        "cpuUs": (used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime) * 1e6 / count,
    }


def main():
    """Answers each order with what was measured; the connection is made, and warm, before the clock runs."""
    name, path, contract = sys.argv[1:]
    make = {"hms": hms, "hms_json": hms_json, "grpcio": grpcio}[name]
    print("ready", flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        call = make(path, Path(contract).read_bytes(), order["ticket"])
        for _ in range(20):
            call()
        print(json.dumps(measure(call, order["seconds"])), flush=True)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "sdks" / "python"))
    main()
