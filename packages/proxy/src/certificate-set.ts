import { constants, X509Certificate } from "node:crypto";
import type { SecureContext, SecureContextOptions } from "node:tls";
import { HmsError } from "@hms/kernel";

/** A certificate with its chain, and its private key, both PEM. */
export interface Certificate {
  cert: string | Buffer;
  key: string | Buffer;
}

/** What a server over TLS shows, and whom it asks. */
export interface SecureTerms {
  /** The first one is for who asks for none of the names. */
  readonly certificates: readonly Certificate[];
  /** Clients may show certificates of these, PEM; undefined: they are not asked. */
  readonly clientAuthorities?: string | undefined;
}

/** Suites with forward secrecy and authenticated encryption only (Mozilla's intermediate list without finite fields). */
const CIPHERS = [
  ...["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"],
  ...["ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384"],
  ...["ECDHE-RSA-AES256-GCM-SHA384", "ECDHE-ECDSA-CHACHA20-POLY1305", "ECDHE-RSA-CHACHA20-POLY1305"],
].join(":");

/** TLS 1.2 and newer, without renegotiation, which lets a client have the server compute for nothing. */
const TLS_TERMS = {
  minVersion: "TLSv1.2",
  ciphers: CIPHERS,
  secureOptions: constants.SSL_OP_NO_RENEGOTIATION,
} as const satisfies SecureContextOptions;

const DNS_NAME = /(?:^|, )DNS:([^,\s"]+)/g;

/** The certificates of a server, found by the name that a client asks for (RFC 6066 §3); the first one is for all others. */
export class CertificateSet {
  readonly #context: SecureContext;
  readonly #byName = new Map<string, SecureContext>();

  /** What a server takes of it before a name is known. */
  readonly terms: SecureContextOptions;
  /** Each PEM; none: clients are not asked. */
  readonly clientAuthorities: readonly string[];

  /**
   * With authorities of clients, PEM, these may show a certificate. Raises INVALID_ARGUMENT if there is no certificate, or one
   * that cannot be used.
   */
  constructor(certificates: readonly Certificate[], clientAuthorities?: string) {
    const [first] = certificates;
    if (first === undefined) throw unusable("there is none");
    this.clientAuthorities = clientAuthorities === undefined ? [] : authoritiesIn(clientAuthorities);
    const clients = this.clientAuthorities.length === 0 ? {} : { ca: [...this.clientAuthorities] };
    this.terms = { ...first, ...TLS_TERMS, ...clients };
    const contexts = certificates.map((each) => [namesOf(each), contextOf({ ...each, ...clients })] as const);
    this.#context = (contexts[0] as (typeof contexts)[0])[1];
    for (const [names, context] of contexts) {
      for (const name of names) if (!this.#byName.has(name)) this.#byName.set(name, context);
    }
  }

  /** What a client gets that asks for this name; `*.` stands for one label. */
  contextFor(serverName: string): SecureContext {
    const name = serverName.toLowerCase();
    const wildcard = `*${name.slice(Math.max(name.indexOf("."), 0))}`;
    return this.#byName.get(name) ?? this.#byName.get(wildcard) ?? this.#context;
  }
}

function namesOf({ cert }: Certificate): string[] {
  try {
    const parsed = new X509Certificate(cert);
    return [...(parsed.subjectAltName ?? "").matchAll(DNS_NAME)].map(([, name = ""]) => name.toLowerCase());
  } catch (cause) {
    throw unusable((cause as Error).message, cause);
  }
}

const PEM = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g;

/** OpenSSL would take a text without any for nobody to be believed, and say nothing. */
function authoritiesIn(text: string): string[] {
  const found = text.match(PEM) ?? [];
  try {
    for (const each of found) new X509Certificate(each);
  } catch (cause) {
    throw unusable(`an authority of clients cannot be read: ${(cause as Error).message}`, cause);
  }
  if (found.length === 0) throw unusable("there is no certificate in what clients' authorities are to be");
  return found;
}

function contextOf({ cert, key, ca }: Certificate & Pick<SecureContextOptions, "ca">): SecureContext {
  try {
    // Loaded where there are certificates only.
    return process
      .getBuiltinModule("node:tls")
      .createSecureContext({ cert, key, ...(ca === undefined ? {} : { ca }), ...TLS_TERMS });
  } catch (cause) {
    throw unusable((cause as Error).message, cause);
  }
}

function unusable(why: string, cause?: unknown): HmsError {
  return new HmsError("INVALID_ARGUMENT", `The certificates cannot be used: ${why}.`, {
    reason: "CERTIFICATE_INVALID",
    ...(cause === undefined ? {} : { cause }),
  });
}
