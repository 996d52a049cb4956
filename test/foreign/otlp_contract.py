"""Prints the contract of OTLP's trace service as OpenTelemetry's Python package has it: a FileDescriptorSet."""

import sys

from google.protobuf.descriptor_pb2 import FileDescriptorSet
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2

files = {}


def add(file):
    for each in file.dependencies:
        add(each)
    files[file.name] = file


add(trace_service_pb2.DESCRIPTOR)
found = FileDescriptorSet()
for each in files.values():
    each.CopyToProto(found.file.add())
sys.stdout.buffer.write(found.SerializeToString())
