"""A stock grpcio client of the echo contract of packages/testkit/src/echo-contract.ts; prints what came back as JSON."""

import json
import sys
import threading

import grpc
from google.protobuf.wrappers_pb2 import StringValue
from google.rpc import error_details_pb2, status_pb2

ECHO = "/hms.test.v1.EchoService/"
METADATA = (("authorization", "Bearer t"), ("x-request-id", "py-1"))
SERIALIZERS = {"request_serializer": StringValue.SerializeToString, "response_deserializer": StringValue.FromString}


def unary(channel, method, value, timeout=5):
    call = channel.unary_unary(ECHO + method, **SERIALIZERS)
    try:
        return call(StringValue(value=value), timeout=timeout, metadata=METADATA).value
    except grpc.RpcError as error:
        return f"error {error.code().name}: {error.details()}"


def details(channel):
    try:
        channel.unary_unary(ECHO + "Unary", **SERIALIZERS)(StringValue(value="details"))
    except grpc.RpcError as error:
        trailers = dict(error.trailing_metadata())
        status = status_pb2.Status.FromString(trailers["grpc-status-details-bin"])
        info = error_details_pb2.ErrorInfo()
        status.details[0].Unpack(info)
        return f"{info.domain} {info.reason} {info.metadata['holder']}"


def values(*texts):
    return iter([StringValue(value=text) for text in texts])


def concurrent(channel, calls):
    right = []

    def one(n):
        if unary(channel, "Unary", f"n{n}", 20).startswith(f"n{n} "):
            right.append(n)

    threads = [threading.Thread(target=one, args=(n,)) for n in range(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return len(right)


def main():
    with grpc.insecure_channel(sys.argv[1], options=[("grpc.max_receive_message_length", 8 << 20)]) as channel:
        stream = channel.unary_stream(ECHO + "ServerStream", **SERIALIZERS)
        upload = channel.stream_unary(ECHO + "ClientStream", **SERIALIZERS)
        bidi = channel.stream_stream(ECHO + "Bidi", **SERIALIZERS)
        print(
            json.dumps(
                {
                    "unary": unary(channel, "Unary", "hello"),
                    "error": unary(channel, "Unary", "fail"),
                    "details": details(channel),
                    "unknown": unary(channel, "Nothing", "a"),
                    "late": unary(channel, "Unary", "hang", 0.1),
                    "large": len(unary(channel, "Unary", "x" * (3 << 20), 20)),
                    "serverStream": [answer.value for answer in stream(StringValue(value="a,b,c"))],
                    "clientStream": [upload(values("a", "b", "c")).value],
                    "bidi": [answer.value for answer in bidi(values("a", "b", "c"))],
                    "concurrent": concurrent(channel, 100),
                }
            )
        )


main()
