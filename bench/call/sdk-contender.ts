import { create, type DescFile, toBinary } from "@bufbuild/protobuf";
import { type FileDescriptorProto, FileDescriptorProtoSchema, FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { Client, openTelemetryTracer, serve } from "@hms/ffi";
import type { CallContender } from "./contenders.ts";
import { unsampledTraceparent } from "./traceparent.ts";
import { LOOKUP } from "./workload.ts";

/** The service that the SDK's contender offers: the same method with the same messages, in a package of a user's. */
const SERVICE_ID = "hms.bench";

/** What its caller gives, as an object of the language. */
const PLAIN_REQUEST = { serviceId: "hms.cdf.debate", version: "v1", environment: "default" };

/** What it answers, as an object of the language: the same as the other contenders. */
const PLAIN_RESPONSE = {
  service: {
    serviceId: "hms.cdf.debate",
    version: "v1",
    environment: "default",
    metadata: { language: "python", region: "eu-central-1" },
    hasContract: true,
    instances: [1, 2].map((n) => ({
      instanceId: `debate-${n}`,
      address: `unix:/run/hms/ffi/debate-${n}.sock`,
      state: "INSTANCE_STATE_AVAILABLE",
      leaseExpiresAt: new Date(1_790_000_000_000 + n),
    })),
  },
};

/** Its contract, as a serialized FileDescriptorSet. */
function sdkContract(): Uint8Array {
  const files = new Map<string, FileDescriptorProto>();
  const add = ({ dependencies, name, proto }: DescFile) => {
    for (const each of dependencies) add(each);
    files.set(`${name}.proto`, proto);
  };
  add(LOOKUP.parent.file);
  const own = create(FileDescriptorProtoSchema, {
    name: "hms/bench/v1/bench.proto",
    package: "hms.bench.v1",
    syntax: "proto3",
    dependency: [LOOKUP.parent.file.proto.name],
    service: [
      {
        name: "BenchService",
        method: [
          { name: LOOKUP.name, inputType: `.${LOOKUP.input.typeName}`, outputType: `.${LOOKUP.output.typeName}` },
        ],
      },
    ],
  });
  const set = create(FileDescriptorSetSchema, { file: [...files.values(), own] });
  return toBinary(FileDescriptorSetSchema, set);
}

/**
 * What users have: the SDK's client and its service, which find each other by a registry, whose address takes the place of
 * the path. Its tickets, validation, metrics and trace context are on; nothing is told of calls, as of what only reads.
 */
export const sdkContender: CallContender = {
  async serve(registryUrl) {
    const service = await serve({
      serviceId: SERVICE_ID,
      contract: sdkContract(),
      methods: { Lookup: () => PLAIN_RESPONSE },
      tracer: openTelemetryTracer(),
      registryUrl,
      token: "svc",
    });
    await service.registered;
  },
  async client(registryUrl) {
    const client = new Client(SERVICE_ID, { registryUrl, token: "anna" });
    return () => client.call("Lookup", PLAIN_REQUEST, { metadata: { traceparent: unsampledTraceparent() } });
  },
};
