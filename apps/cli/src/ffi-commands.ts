import type { ArgumentSpec, CommandSpec, OptionSpec } from "./command-spec.ts";

const service: ArgumentSpec = {
  name: "service",
  summary: "a service id, hms.cdf.debate; with .v2 at its end another version than v1",
  required: true,
  completes: "ffi-service",
};
const method: ArgumentSpec = {
  name: "method",
  summary: "a method's name: EvaluatePolicy, evaluatePolicy, evaluate_policy",
  required: true,
  completes: "ffi-method",
};
const timeout: OptionSpec = { flags: "--timeout <time>", summary: "give up after 500ms, 90s, 10m", default: "30s" };

/** The commands for services that can be called, whatever language they are in. */
export const ffiCommands: CommandSpec[] = [
  {
    name: "ffi list",
    group: "Call",
    summary: "list services that can be called, with their instances",
    args: [{ name: "pattern", summary: "service ids with * for any part; default all", completes: "ffi-service" }],
    examples: ["hms-sys ffi list 'hms.emr.*'"],
    load: () => import("./commands/ffi-list.ts"),
  },
  {
    name: "ffi describe",
    group: "Call",
    summary: "show a service's methods, or one method with the fields of its messages",
    args: [service, { ...method, required: false }],
    examples: ["hms-sys ffi describe hms.sys.mesh", "hms-sys ffi describe hms.cdf.debate EvaluatePolicy"],
    load: () => import("./commands/ffi-describe.ts"),
  },
  {
    name: "ffi call",
    group: "Call",
    summary: "call a method; the request is checked against its contract first",
    args: [
      service,
      method,
      {
        name: "request",
        summary: "JSON, @FILE, - for standard input, or fields: policy_id=p-1 resource.kind=file",
        variadic: true,
        completes: "ffi-field",
      },
    ],
    options: [
      timeout,
      { flags: "--metadata <pairs>", summary: "name=value, comma-separated; travels beside the request" },
      { flags: "--dry-run", summary: "only check the request and show it as it would be sent" },
    ],
    examples: [
      "hms-sys ffi call hms.cdf.debate EvaluatePolicy policy_id=p-1",
      `hms-sys ffi call hms.cdf.debate EvaluatePolicy '{"policyId": "p-1"}' -o json`,
      "hms-sys ffi call hms.etl.pipeline Ingest - < records.ndjson",
    ],
    load: () => import("./commands/ffi-call.ts"),
  },
  {
    name: "ffi tap",
    group: "Call",
    summary:
      "show calls as they end, live, until Ctrl-C: those that pass through the server (REST, gRPC, this command line, " +
      "the platform's own methods); programs with an SDK call each other directly, which traces show",
    args: [
      { name: "service", summary: "SERVICE or SERVICE/Method, * for any part; default all", completes: "ffi-service" },
    ],
    options: [
      { flags: "--errors", summary: "only calls that failed or were denied" },
      { flags: "--principal <name>", summary: "only these callers, * for any part: user:anna, service:*" },
      { flags: "--payload", summary: "also requests, secrets redacted, of calls that are audited with their request" },
    ],
    examples: [
      "hms-sys ffi tap",
      "hms-sys ffi tap 'hms.emr.*' --errors",
      "hms-sys ffi tap hms.cdf.debate/Get* -o json",
    ],
    load: () => import("./commands/ffi-tap.ts"),
  },
  {
    name: "ffi explain",
    group: "Call",
    summary:
      "say which instance, transport and codec a call would use, and why; with HMS_FFI_CONFIG_PATH as a program would " +
      "that has this configuration file",
    args: [service],
    load: () => import("./commands/ffi-explain.ts"),
  },
  {
    name: "ffi register",
    group: "Call",
    summary: "make the services of a stock gRPC server callable, by its reflection",
    args: [{ name: "address", summary: "grpc://127.0.0.1:50051", required: true }],
    options: [
      { flags: "--services <names>", summary: "contract names, comma-separated; default all" },
      { flags: "--contract-version <version>", summary: "of packages that name none; default v1" },
    ],
    load: () => import("./commands/ffi-register.ts"),
  },
  {
    name: "ffi diff",
    group: "Call",
    summary: "say what a new contract would change, and whom it would break; exit code 10 if it changes anything",
    args: [service, { name: "file", summary: "a FileDescriptorSet (buf build -o set.binpb)", required: true }],
    load: () => import("./commands/ffi-diff.ts"),
  },
  {
    name: "ffi generate",
    group: "Call",
    summary: "write typed code to call and to offer services with the SDKs, from their contracts",
    args: [
      {
        name: "service",
        summary: "service ids, hms.cdf.debate or hms.cdf.debate@v2; with --from default all of the file",
        variadic: true,
        completes: "ffi-service",
      },
    ],
    options: [
      { flags: "--lang <language>", summary: "ts or python", completes: ["ts", "python"] },
      { flags: "--out <folder>", summary: "where the files go, one a service; default here" },
      {
        flags: "--from <file>",
        summary: "not the registry: a FileDescriptorSet (buf build -o set.binpb, or set.json)",
      },
    ],
    examples: [
      "hms-sys ffi generate hms.cdf.debate --lang ts --out src/generated",
      "hms-sys ffi generate --from set.binpb --lang python",
    ],
    load: () => import("./commands/ffi-generate.ts"),
  },
  {
    name: "ffi policy",
    group: "Call",
    summary: "list who may call what; add or remove a policy; say why somebody may or may not (exit code 1: may not)",
    args: [
      { ...service, required: false },
      { ...method, required: false },
    ],
    options: [
      { flags: "--put <json>", summary: 'add or replace one: {"service": "hms.emr.*", "allowed_roles": ["doctor"]}' },
      { flags: "--delete <id>", summary: "remove one" },
      { flags: "--as <principal>", summary: "user:anna: whether and why this principal may make the call" },
      { flags: "--roles <names>", summary: "with --as: its roles, comma-separated" },
      { flags: "--mfa", summary: "with --as: it has shown a second factor" },
    ],
    examples: [
      "hms-sys ffi policy hms.emr.patient",
      `hms-sys ffi policy --put '{"service": "hms.emr.*", "allowed_roles": ["doctor"]}'`,
      "hms-sys ffi policy hms.emr.patient GetPatient --as user:anna --roles doctor",
    ],
    load: () => import("./commands/ffi-policy.ts"),
  },
];
