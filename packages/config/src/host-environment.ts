import { homedir } from "node:os";
import { buildVariables } from "./build-variables.ts";
import { isOperatorSecretGiven, operatorSecret } from "./operator-secret.ts";

/** What the product reads from the process environment; nothing else reads it. */
export interface HostEnvironment {
  /** The operator's home directory. */
  home: string;
  /** The operator's PATH. */
  path: string;
  /** XDG_STATE_HOME, default ~/.local/state. */
  stateHome: string;
  /** XDG_CONFIG_HOME, default ~/.config. */
  configHome: string;
  /** HMS_INSTANCE. */
  instance: string | undefined;
  /** HMS_DATA. */
  data: string | undefined;
  /** DATABASE_URL, or what the file DATABASE_URL_FILE holds, read when it is asked for: use this PostgreSQL instead of the embedded one. */
  readonly databaseUrl: string | undefined;
  /** Whether the embedded PostgreSQL is used. */
  embedsDatabase: boolean;
  /** HMS_REDIS_URL, or what the file HMS_REDIS_URL_FILE holds: where gateways count limits together; undefined: each for itself. */
  readonly redisUrl: string | undefined;
  /** HMS_HTTP_LISTEN, HMS_HTTPS_LISTEN: what `up` takes for --http-listen and --https-listen where these are not given. */
  gatewayListen: Readonly<Record<"http" | "https", string | undefined>>;
  /** HMS_ROUTES_DEFAULT_AUTH: what `up` takes for --routes-default-auth where it is not given. */
  routesDefaultAuth: string | undefined;
  /** HMS_ENVIRONMENT: the environment commands act on. */
  environment: string | undefined;
  /** What builds are told of this machine's way to package registries. */
  buildVariables: Readonly<Record<string, string>>;
  /** True if NO_COLOR is set and not empty. */
  noColor: boolean;
  /** True if FORCE_COLOR is set and not "0". */
  forceColor: boolean;
  /** OTEL_EXPORTER_OTLP_ENDPOINT: where spans are sent; undefined: nowhere. */
  otlpEndpoint: string | undefined;
  /** OTEL_EXPORTER_OTLP_HEADERS, or what the file OTEL_EXPORTER_OTLP_HEADERS_FILE holds: sent with them, "key=value,key=value". */
  readonly otlpHeaders: Readonly<Record<string, string>>;
  /** OTEL_TRACES_SAMPLER_ARG: the part of new traces that is kept, 0 to 1. */
  traceRatio: number | undefined;
  /** HMS_AUDIT_SINK: an http(s) address that takes the audit log's checkpoints; undefined: they stay on this machine. */
  auditSink: string | undefined;
  /** HMS_AUDIT_KEEP_DAYS: how long audit events are kept; undefined: as long as the service thinks right. */
  auditKeepDays: number | undefined;
  /** HMS_AUDIT_SPOOL_MIB: MiB at which audit spools take nothing more; undefined: as much as the spool thinks right. */
  auditSpoolMiB: number | undefined;
  /** HMS_ALLOW_PLAINTEXT: variables that may lead to another machine without encryption. */
  allowPlaintext: readonly string[];
  /** True in continuous integration. */
  ci: boolean;
}

/** Reads the environment once; pass another one in tests. */
export function hostEnvironment(env: NodeJS.ProcessEnv = process.env): HostEnvironment {
  const given = (name: string) => env[name] || undefined;
  const databaseUrl = operatorSecret(env, "DATABASE_URL");
  const redisUrl = operatorSecret(env, "HMS_REDIS_URL");
  const otlpHeaders = operatorSecret(env, "OTEL_EXPORTER_OTLP_HEADERS");
  const home = env.HOME || homedir();
  return {
    home,
    path: env.PATH ?? "/usr/local/bin:/usr/bin:/bin",
    stateHome: env.XDG_STATE_HOME || `${home}/.local/state`,
    configHome: env.XDG_CONFIG_HOME || `${home}/.config`,
    instance: given("HMS_INSTANCE"),
    data: given("HMS_DATA"),
    get databaseUrl() {
      return databaseUrl();
    },
    embedsDatabase: !isOperatorSecretGiven(env, "DATABASE_URL"),
    get redisUrl() {
      return redisUrl();
    },
    gatewayListen: { http: given("HMS_HTTP_LISTEN"), https: given("HMS_HTTPS_LISTEN") },
    routesDefaultAuth: given("HMS_ROUTES_DEFAULT_AUTH"),
    environment: given("HMS_ENVIRONMENT"),
    buildVariables: buildVariables(env),
    noColor: Boolean(env.NO_COLOR),
    forceColor: Boolean(env.FORCE_COLOR) && env.FORCE_COLOR !== "0",
    otlpEndpoint: given("OTEL_EXPORTER_OTLP_ENDPOINT"),
    get otlpHeaders() {
      return keyValues(otlpHeaders() ?? "");
    },
    traceRatio: ratioOf(env.OTEL_TRACES_SAMPLER_ARG),
    auditSink: given("HMS_AUDIT_SINK"),
    auditKeepDays: wholeNumberOf(env.HMS_AUDIT_KEEP_DAYS),
    auditSpoolMiB: wholeNumberOf(env.HMS_AUDIT_SPOOL_MIB),
    allowPlaintext: (env.HMS_ALLOW_PLAINTEXT ?? "").split(/[\s,]+/).filter((name) => name !== ""),
    ci: Boolean(env.CI),
  };
}

/** Reads "a=1,b=2", values percent-encoded, as the OpenTelemetry specification writes headers. */
function keyValues(text: string): Record<string, string> {
  const pairs = text.split(",").map((pair) => pair.split("=").map((part) => part.trim()));
  return Object.fromEntries(pairs.flatMap(([key, value]) => (key && value ? [[key, decodeURIComponent(value)]] : [])));
}

function wholeNumberOf(text: string | undefined): number | undefined {
  return text !== undefined && /^[1-9]\d{0,5}$/.test(text) ? Number(text) : undefined;
}

function ratioOf(text: string | undefined): number | undefined {
  const ratio = Number(text || Number.NaN);
  return ratio >= 0 && ratio <= 1 ? ratio : undefined;
}

/** One variable of the operator's environment, for ${env.NAME} in manifests. */
export function hostVariable(name: string, env: NodeJS.ProcessEnv = process.env): string | undefined {
  return Object.hasOwn(env, name) ? env[name] : undefined;
}
