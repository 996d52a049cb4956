import { type EdgeFault, fault } from "./edge-fault.ts";

/** Who may be asked for, and from which pages. */
export interface HostGuardOptions {
  /**
   * Names that a request's Host may have, without port; "*.example.org" is every name below. Default: localhost, every
   * name below it, 127.0.0.1 and [::1]. A function is asked for each name, in lower case.
   */
  readonly hosts?: readonly string[] | ((name: string) => boolean);
  /**
   * The name at which only the platform answers, never a user's service, so that a browser's session is safe there; a
   * secret, never part of an answer to anybody who has not asked for it by name. Default: none. It selects no environment.
   */
  readonly platformHost?: string;
  /** Origins besides the edge's own whose pages may call it, as "https://console.example.org"; default none. */
  readonly origins?: readonly string[];
}

const LOCAL_HOSTS = ["localhost", "*.localhost", "127.0.0.1", "[::1]"];
/** Names that are no environment's, and at which nobody but the right one is answered. */
const RESERVED = /(?:^|\.)hms(?:-[a-z2-7]{26})?\.localhost\.?$/;
const ENVIRONMENT_LABEL = /^([a-z0-9](?:[a-z0-9-]*[a-z0-9])?)\.localhost$/;
const ENVIRONMENT = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;

/** Keeps out requests that a foreign page sends by a name of its own (DNS rebinding) or across origins. */
export class HostGuard {
  readonly #isServed: (name: string) => boolean;
  readonly #origins: ReadonlySet<string>;
  readonly #platformHost: string | undefined;
  // Most requests in a row ask for the same host.
  #lastHost: string | undefined;
  #lastEnvironment = "";

  constructor({ hosts = LOCAL_HOSTS, origins = [], platformHost }: HostGuardOptions) {
    this.#platformHost = platformHost?.toLowerCase();
    const own = platformHost === undefined ? [] : [platformHost];
    this.#isServed = typeof hosts === "function" ? hosts : isOneOf([...hosts, ...own]);
    this.#origins = new Set(origins);
  }

  /**
   * The environment that a Host selects: `<environment>.localhost`, otherwise "default".
   * @throws EdgeFault with status 421 for a host that is not served here
   */
  environmentOf(host: string | undefined): string {
    if (host === this.#lastHost && host !== undefined) return this.#lastEnvironment;
    const name = hostName(host ?? "");
    if (RESERVED.test(name) && name !== this.#platformHost) throw notThisHost();
    if (!this.#isServed(name)) {
      throw fault("PERMISSION_DENIED", `The host ${JSON.stringify(name)} is not served here.`, {
        status: 421,
        reason: "HOST_NOT_ALLOWED",
      });
    }
    this.#lastEnvironment = name === this.#platformHost ? "default" : (ENVIRONMENT_LABEL.exec(name)?.[1] ?? "default");
    this.#lastHost = host;
    return this.#lastEnvironment;
  }

  /** Whether a Host is the platform's own. */
  isPlatformHost(host: string | undefined): boolean {
    return host !== undefined && hostName(host) === this.#platformHost;
  }

  /**
   * Whether a page of another origin that may call asks; false for the own origin and for callers that are no pages.
   * @throws EdgeFault PERMISSION_DENIED for any other page
   */
  isForeignPage(origin: string | undefined, host: string | undefined): boolean {
    if (origin === undefined) return false;
    if (this.#origins.has(origin)) return true;
    if (host !== undefined && (origin === `http://${host}` || origin === `https://${host}`)) return false;
    throw fault("PERMISSION_DENIED", `Pages of ${origin} may not call this address.`, { reason: "ORIGIN_NOT_ALLOWED" });
  }
}

/**
 * The environment that a request's x-hms-environment names.
 * @throws EdgeFault INVALID_ARGUMENT if it cannot be one
 */
export function namedEnvironment(text: string): string {
  if (ENVIRONMENT.test(text)) return text;
  throw fault("INVALID_ARGUMENT", "x-hms-environment must be lower-case letters, digits and dashes, at most 63.");
}

function notThisHost(): EdgeFault {
  const message =
    "People come in at an address that only this installation's operator can tell: hms-sys up and hms-sys login print it.";
  return fault("PERMISSION_DENIED", message, { status: 421, reason: "HOST_NOT_ALLOWED" });
}

function isOneOf(hosts: readonly string[]): (name: string) => boolean {
  const names = hosts.map((host) => host.toLowerCase());
  const exact = new Set(names.filter((name) => !name.startsWith("*.")));
  const suffixes = names.filter((name) => name.startsWith("*.")).map((name) => name.slice(1));
  return (name) => exact.has(name) || suffixes.some((suffix) => name.endsWith(suffix));
}

function hostName(host: string): string {
  const colon = host.lastIndexOf(":");
  const name = colon >= 0 && !host.endsWith("]") ? host.slice(0, colon) : host;
  return name.toLowerCase();
}
