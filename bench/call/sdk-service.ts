import { create, type DescFile, toBinary } from "@bufbuild/protobuf";
import { type FileDescriptorProto, FileDescriptorProtoSchema, FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { LOOKUP } from "./workload.ts";

/** The service that the SDK's contender offers: the same method with the same messages, in a package of a user's. */
export const SERVICE_ID = "hms.bench";

/** What its caller gives, as an object of the language. */
export const PLAIN_REQUEST = { serviceId: "hms.cdf.debate", version: "v1", environment: "default" };

/** What it answers, as an object of the language: the same as the other contenders. */
export const PLAIN_RESPONSE = {
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
export function sdkContract(): Uint8Array {
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
