import { ffiEnvironment } from "@hms/config";
import { tempFolder } from "@hms/testkit";
import { describe, expect, test } from "vitest";
import { resolveSettings } from "./settings.ts";

const none = ffiEnvironment({});

describe("settings", () => {
  test("are read from the configuration file as the guide prints it", () => {
    using folder = tempFolder({
      "ffi.yml": `
ffi:
  registry:
    url: http://registry:8080
    cache_ttl: 300s
    refresh_interval: 60s
  transport:
    default: grpc
    in_process:
      enabled: true
    local_socket:
      enabled: true
      path: /var/run/hms-ffi/sockets
    grpc:
      enabled: true
      max_concurrent_streams: 100
  security:
    token_validation_endpoint: http://auth:8080/validate
    required_claims:
      - sub
      - role
    permission_policy: strict
`,
    });
    const settings = resolveSettings({}, ffiEnvironment({ HMS_FFI_CONFIG_PATH: `${folder.path}/ffi.yml` }));
    expect(settings).toMatchObject({
      registryUrl: "http://registry:8080",
      environment: "default",
      cacheTtlMs: 300_000,
      refreshIntervalMs: 60_000,
      transport: "grpc",
      disabled: [],
      serviceFolder: "/var/run/hms-ffi/sockets",
      maxStreams: 100,
    });
  });

  test("that have no effect are told of when the file is read", async () => {
    using folder = tempFolder({
      "ffi.yml":
        "ffi: {transport: {default: in_process, grpc: {enabled: false}}, security: {required_claims: [sub], permission_policy: strict}}",
    });
    const told: string[] = [];
    const hear = ({ name, message }: Error) =>
      name === "HmsFfiConfigWarning" && message.startsWith(folder.path) && told.push(message);
    // What tests before this one were told comes a turn later.
    await new Promise(setImmediate);
    process.on("warning", hear);
    resolveSettings({ configPath: `${folder.path}/ffi.yml`, registryUrl: "http://a:1" }, none);
    await new Promise(setImmediate);
    process.off("warning", hear);
    expect(told).toEqual([
      expect.stringMatching(/ffi\.security\.required_claims has no effect/),
      expect.stringMatching(/ffi\.transport\.grpc\.enabled has no effect/),
      expect.stringMatching(/ffi\.transport\.default has no effect/),
    ]);
  });

  test("of the program come before the environment's, and those before the file's", () => {
    using folder = tempFolder({
      "ffi.yml": "ffi: {registry: {url: 'http://file:1', token: file}, environment: stage}",
    });
    const env = ffiEnvironment({
      HMS_FFI_CONFIG_PATH: `${folder.path}/ffi.yml`,
      HMS_FFI_SOCKET: "/run/kernel.sock",
      HMS_FFI_TOKEN: "env",
    });
    expect(resolveSettings({}, env)).toMatchObject({
      registryUrl: "unix:/run/kernel.sock",
      token: "env",
      environment: "stage",
    });
    expect(resolveSettings({ registryUrl: "tcp://127.0.0.1:1", token: "own", environment: "x" }, env)).toMatchObject({
      registryUrl: "tcp://127.0.0.1:1",
      token: "own",
      environment: "x",
    });
  });

  test("that are wrong are named all together, with the nearest name", () => {
    using folder = tempFolder({
      "ffi.yml": `
ffi:
  registri: {}
  registry: {cache_ttl: soon}
  transport: {default: pigeon, grpc: {enabled: yes please}}
  security: {permission_policy: lax}
`,
    });
    const read = () => resolveSettings({ configPath: `${folder.path}/ffi.yml` }, none);
    expect(read).toThrow(/ffi\.registri is no setting; did you mean registry\?/);
    expect(read).toThrow(/ffi\.registry\.cache_ttl must be a time like 300s/);
    expect(read).toThrow(/ffi\.transport\.default must be one of auto, /);
    expect(read).toThrow(/ffi\.transport\.grpc\.enabled must be true or false/);
    expect(read).toThrow(/ffi\.security\.permission_policy must be one of strict/);
  });

  test.each([
    ["ftp://x", "HMS_FFI_REGISTRY_URL"],
    ["localhost:8080", "HMS_FFI_REGISTRY_URL"],
    ["http://host:8080/path", "HMS_FFI_REGISTRY_URL"],
  ])("refuse %s as the registry's address and say which setting it is", (url, name) => {
    expect(() => resolveSettings({}, ffiEnvironment({ HMS_FFI_REGISTRY_URL: url }))).toThrow(
      new RegExp(`^${name} is "${url}".*write unix:/path`),
    );
  });

  test("say what is missing if a file is not there, or a socket's path is not whole", () => {
    expect(() => resolveSettings({ configPath: "/nowhere/ffi.yml" }, none)).toThrow(
      /\/nowhere\/ffi.yml cannot be read: it is not there/,
    );
    expect(() => resolveSettings({}, ffiEnvironment({ HMS_FFI_SOCKET: "kernel.sock" }))).toThrow(/whole path/);
  });
});
