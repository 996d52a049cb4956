import { create } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { mesh, registry } from "@hms/contracts";
import { descriptorSetOf } from "@hms/descriptors";
import { componentPrincipal, type HmsError, type Principal } from "@hms/kernel";
import { describe, expect, test } from "vitest";
import { readRegistration } from "./register-request.ts";

const meshSet = descriptorSetOf([mesh.MeshService.file]);
const good = {
  serviceId: "hms.sys.mesh",
  version: "v1",
  instanceId: "server-1",
  address: "unix:/run/hms/kernel.sock",
};

type Init = Parameters<typeof create<typeof registry.RegisterRequestSchema>>[1];

const read = (init: Init) => readRegistration(create(registry.RegisterRequestSchema, init), componentPrincipal("test"));

function fieldsOf(init: Init): string[] {
  try {
    read(init);
    return [];
  } catch (error) {
    return (error as { details: { fieldViolations: { field: string }[] } }).details.fieldViolations.map(
      ({ field }) => field,
    );
  }
}

describe("a request to register", () => {
  test("gets its defaults", () => {
    expect(read(good)).toMatchObject({ environment: "default", leaseMs: 30_000, metadata: {} });
  });

  test.each(["hms.cdf.debate", "greeter", "a.b_c.d2"])("may name a service %s", (serviceId) => {
    expect(fieldsOf({ ...good, serviceId })).toEqual([]);
  });

  test.each(["", "Hms.x", "a..b", ".a", "a.", "2a", "a-b", "a".repeat(201)])(
    "may not name a service '%s'",
    (serviceId) => {
      expect(fieldsOf({ ...good, serviceId })).toEqual(["service_id"]);
    },
  );

  test("leads the platform nowhere that who registers could not reach, or nobody could prove", () => {
    const by = (kind: Principal["kind"], address: string, alternative = "unix:/run/x.sock") => {
      const request = create(registry.RegisterRequestSchema, { ...good, address, alternativeAddresses: [alternative] });
      try {
        readRegistration(request, { kind, id: "x" });
        return [];
      } catch (error) {
        return (error as HmsError).details.fieldViolations?.map(({ field }) => field);
      }
    };
    const nowhere = ["http://169.254.169.254", "grpcs://[fe80::1]:1", "https://0.0.0.0", "tls://169.254.1.1:1"];
    const written = ["http://0xa9.0xfe.0xa9.0xfe", "http://2852039166", "http://[::ffff:169.254.169.254]"];
    const hidden = ["http://10.0.0.1", "grpc://192.168.1.1:1", "https://172.16.0.1", "http://[fd00::1]"];
    const names = [
      "http://metadata.internal",
      "grpc://orders:50051",
      "grpc://2130706433:1",
      "http://localhost.evil.example",
    ];
    const good_ = ["http://127.0.0.1:1", "http://localhost:1", "grpc://[::1]:1", "https://billing.example.org"];
    const proven = ["tls://10.0.0.1:443", "grpcs://orders:443", "unix:/run/y.sock", "http://203.0.113.1:1"];
    for (const address of [...nowhere, ...written, ...hidden, ...names]) {
      expect([address, by("service", address)]).toEqual([address, ["address"]]);
      expect([address, by("service", "unix:/x", address)]).toEqual([address, ["alternative_addresses[0]"]]);
      expect([address, by("operator", address)]).toEqual([address, []]);
    }
    for (const address of [...good_, ...proven]) expect([address, by("service", address)]).toEqual([address, []]);
    for (const address of [...nowhere, ...written])
      expect([address, by("user", address)]).toEqual([address, ["address"]]);
    for (const address of ["grpc://2852039166:1", "grpcs://0xa9fea9fe:1", "tls://2852039166:1"])
      for (const kind of ["user", "service"] as const)
        expect([address, by(kind, address)]).toEqual([address, ["address"]]);
    for (const address of hidden) expect([address, by("user", address)]).toEqual([address, []]);
  });

  test.each(["", "1", "v0", "v01", "V1", "v1.2", "v1beta1"])("may not name a version '%s'", (version) => {
    expect(fieldsOf({ ...good, version })).toEqual(["version"]);
  });

  test.each([
    "unix:/run/x.sock",
    "http://127.0.0.1:20001",
    "https://host.example/base",
    "tcp://127.0.0.1:20001",
    "tcp://[::1]:20001",
    "tls://host.example:443",
    "grpc://127.0.0.1:50051",
    "grpcs://host.example:443",
  ])("may say %s", (address) => {
    expect(fieldsOf({ ...good, address })).toEqual([]);
    expect(fieldsOf({ ...good, alternativeAddresses: [address] })).toEqual([]);
  });

  test("names which of its addresses is none, and how many there may be", () => {
    const ok = "unix:/run/x.sock";
    expect(fieldsOf({ ...good, alternativeAddresses: [ok, "x"] })).toEqual(["alternative_addresses[1]"]);
    expect(fieldsOf({ ...good, alternativeAddresses: Array(9).fill(ok) })).toEqual(["alternative_addresses"]);
  });

  test.each([
    "",
    "unix:relative",
    "127.0.0.1:1",
    "ftp://a",
    "http://u:p@host",
    "http://a?b",
    "http://127.0.0.1:1/admin#",
    "http://a#b",
    `http://${"a".repeat(600)}`,
    "tcp://10.0.0.1:1",
    "grpc://host",
    "grpc://host:0",
    "grpc://host:65536",
    "grpc://[host]:1",
    "grpc://u@host:1",
  ])("may not say '%s' is its address", (address) => {
    expect(fieldsOf({ ...good, address })).toEqual(["address"]);
  });

  test("asks for a lease of 5 s to 10 min", () => {
    const leaseOf = (ms: number) => fieldsOf({ ...good, leaseDuration: durationFromMs(ms) });
    expect([leaseOf(5000), leaseOf(600_000)]).toEqual([[], []]);
    expect([leaseOf(4999), leaseOf(600_001), leaseOf(-1), leaseOf(0)]).toEqual(Array(4).fill(["lease_duration"]));
  });

  test("is refused with all of its problems at once", () => {
    const metadata = { "": "x", ok: "y".repeat(2000) };
    expect(fieldsOf({ serviceId: "?", version: "?", environment: "?", metadata, fileDescriptorSet: meshSet })).toEqual([
      "environment",
      "service_id",
      "version",
      "instance_id",
      "address",
      'metadata[""]',
      'metadata["ok"]',
      "file_descriptor_set",
    ]);
  });
});

describe("a contract", () => {
  test("is taken from a descriptor set or from schemas, not from both", () => {
    const methodSchemas = [{ name: "Get" }];
    expect(read({ ...good, fileDescriptorSet: meshSet }).contract).toBeDefined();
    expect(read({ ...good, methodSchemas }).contract).toBeDefined();
    expect(read(good).contract).toBeUndefined();
    expect(fieldsOf({ ...good, fileDescriptorSet: meshSet, methodSchemas })).toEqual(["method_schemas"]);
  });

  test("with problems is refused with all of them, by their places", () => {
    expect(fieldsOf({ ...good, fileDescriptorSet: new TextEncoder().encode("garbage") })).toEqual([
      "file_descriptor_set",
    ]);
    const methodSchemas = [
      { name: "Get", inputSchema: "{" },
      { name: "Put", outputSchema: '{"$ref":"x"}' },
    ];
    expect(fieldsOf({ ...good, methodSchemas })).toEqual([
      "method_schemas[0].input_schema",
      "method_schemas[1].output_schema",
    ]);
  });
});
