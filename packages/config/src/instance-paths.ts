import { resolve } from "node:path";
import { HmsError } from "@hms/kernel/errors";
import { type HostEnvironment, hostEnvironment } from "./host-environment.ts";

/** Which installation on this machine is meant. */
export interface InstanceSelector {
  /** Default: HMS_INSTANCE, else "default". */
  instance?: string | undefined;
  /** The data directory; default: HMS_DATA, else the XDG state folder. */
  data?: string | undefined;
}

/** Where one installation keeps everything. All paths are absolute. */
export interface InstancePaths {
  /** The installation's name. */
  instance: string;
  /** The data directory, mode 0700: state that survives a reboot. */
  data: string;
  /** Sockets and process ids, mode 0700; inside the data directory. */
  run: string;
  /** Keys and tokens, mode 0700; outside the data directory. */
  config: string;
  /** The agent's socket. */
  agentSocket: string;
  /** The server's socket: every platform method. */
  kernelSocket: string;
  /** Where the server answers HTTP, mode 0600: REST, OpenAPI, reference page. */
  edgeSocket: string;
  /** Where parts of the platform that run in processes of their own are called, a socket `PART.sock` each. */
  parts: string;
  /** What deployed services may see of the platform: its socket for them, and `ffiServices`. */
  ffi: string;
  /** The server's socket for deployed services; each call there needs a token of theirs. */
  ffiSocket: string;
  /** Where deployed services put their own sockets; everybody may make files there and remove his own. */
  ffiServices: string;
  /** Policies of who may call users' services, JSON. */
  policyFile: string;
  /** Keys of people and programs outside, JSON, mode 0600. */
  keyFile: string;
  /** The operator's token, mode 0600. */
  operatorToken: string;
  /** The token by which the server calls the agent, mode 0600. */
  serverToken: string;
  /** The token by which data planes call the server, mode 0600; good for the mesh feed only. */
  dataplaneToken: string;
  /** The key that signs deployed services' tokens, mode 0600. */
  workloadKey: string;
  /** The key by which the platform's processes say on whose behalf they call each other, mode 0600. */
  partKey: string;
  /** Who the platform is towards services over TLS, if the operator put it there: cert.pem, key.pem and ca.pem. */
  tls: string;
  /** The certificates that the gateway shows, if the operator put them there: cert.pem and key.pem, in folders for several. */
  gatewayTls: string;
  /** For which names the gateway gets certificates by ACME, JSON; without it for none. */
  acmeFile: string;
  /** Account keys and certificates by ACME, mode 0700; the server's alone. */
  acme: string;
  /** What the gateway answers to authorities that ask for proof of a name, a file for each token. */
  acmeChallenges: string;
  /** The key that seals what lies encrypted in the database, mode 0600; nothing opens without it. */
  sealingKey: string;
  /** Where every process has its audit spool, and where checkpoints of the audit log are kept. */
  audit: string;
  /** What lets traffic and rollbacks work while the database is away, mode 0700; the server's alone. */
  kept: string;
  /** The folder of the audit log's keys, mode 0700. */
  auditKeys: string;
  /** How mail leaves the installation, with a password, mode 0600; without it none does. */
  mailFile: string;
  /** The hosts that the platform may connect to, JSON; without it all. */
  outgoingFile: string;
  /** What is asked of new passwords, JSON: the list of breached ones; without it only common ones are refused. */
  passwordFile: string;
  /** The host at which browsers reach the platform, mode 0600: no service may know it. */
  platformHost: string;
  /** Who is signed in at the command line, mode 0600; nobody without it. */
  login: string;
  /** The link by which the first account is made, mode 0600; gone once somebody has one. */
  setUpLink: string;
}

const NAME = /^[a-z0-9](?:[a-z0-9-]{0,30}[a-z0-9])?$/;
/** Linux limits a socket path to 107 bytes; the longest name of ours is ".s.PGSQL.5432.lock". */
const LONGEST_RUN_PATH = 107 - "/.s.PGSQL.5432.lock".length;

/**
 * Finds the paths of an installation.
 * @throws HmsError INVALID_ARGUMENT if the name is not a name or the data path is too long for sockets.
 */
export function resolveInstance(
  selector: InstanceSelector = {},
  host: HostEnvironment = hostEnvironment(),
): InstancePaths {
  const instance = selector.instance ?? host.instance ?? "default";
  if (!NAME.test(instance)) {
    throw new HmsError(
      "INVALID_ARGUMENT",
      `"${instance}" cannot name an instance: use 1 to 32 lower-case letters, digits and inner hyphens.`,
    );
  }
  const data = resolve(selector.data ?? host.data ?? `${host.stateHome}/hms-sys/${instance}`);
  const run = `${data}/run`;
  if (Buffer.byteLength(run) > LONGEST_RUN_PATH) {
    throw new HmsError(
      "INVALID_ARGUMENT",
      `The data directory ${data} is too deep: sockets below it would pass 107 bytes. Choose a shorter one with --data.`,
    );
  }
  const config = resolve(`${host.configHome}/hms-sys/${instance}`);
  return {
    instance,
    data,
    run,
    config,
    agentSocket: `${run}/agent.sock`,
    kernelSocket: `${run}/kernel.sock`,
    edgeSocket: `${run}/edge.sock`,
    parts: `${run}/parts`,
    ffi: `${data}/ffi`,
    ffiSocket: `${data}/ffi/kernel.sock`,
    ffiServices: `${data}/ffi/services`,
    policyFile: `${config}/ffi-policies.json`,
    keyFile: `${config}/ffi-keys.json`,
    operatorToken: `${config}/operator.token`,
    serverToken: `${config}/server.token`,
    dataplaneToken: `${config}/dataplane.token`,
    workloadKey: `${config}/workload.key`,
    partKey: `${config}/part.key`,
    tls: `${config}/tls`,
    gatewayTls: `${config}/gateway-tls`,
    acmeFile: `${config}/acme.json`,
    acme: `${config}/acme`,
    acmeChallenges: `${run}/acme`,
    sealingKey: `${config}/secrets.key`,
    audit: `${data}/audit`,
    kept: `${data}/kept`,
    auditKeys: `${config}/audit`,
    mailFile: `${config}/mail.json`,
    outgoingFile: `${config}/outgoing.json`,
    passwordFile: `${config}/passwords.json`,
    platformHost: `${config}/platform.host`,
    login: `${config}/login.json`,
    setUpLink: `${config}/set-up.link`,
  };
}
