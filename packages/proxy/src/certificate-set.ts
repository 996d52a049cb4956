import { constants, X509Certificate } from "node:crypto";
import type { SecureContext, SecureContextOptions } from "node:tls";
import { HmsError } from "@hms/kernel";

/** A certificate with its chain, and its private key, both PEM. */
export interface Certificate {
  cert: string | Buffer;
  key: string | Buffer;
}

/** Suites with forward secrecy and authenticated encryption only (Mozilla's intermediate list without finite fields). */
const CIPHERS = [
  ...["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"],
  ...["ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384"],
  ...["ECDHE-RSA-AES256-GCM-SHA384", "ECDHE-ECDSA-CHACHA20-POLY1305", "ECDHE-RSA-CHACHA20-POLY1305"],
].join(":");

/** TLS 1.2 and newer, without renegotiation, which lets a client have the server compute for nothing. */
export const TLS_TERMS = {
  minVersion: "TLSv1.2",
  ciphers: CIPHERS,
  secureOptions: constants.SSL_OP_NO_RENEGOTIATION,
} as const satisfies SecureContextOptions;

const DNS_NAME = /(?:^|, )DNS:([^,\s"]+)/g;

/** The certificates of a server, found by the name that a client asks for (RFC 6066 §3); the first one is for all others. */
export class CertificateSet {
  readonly first: Certificate;
  readonly #context: SecureContext;
  readonly #byName = new Map<string, SecureContext>();

  /** Raises INVALID_ARGUMENT if there is none, or one that cannot be used. */
  constructor(certificates: readonly Certificate[]) {
    const [first] = certificates;
    if (first === undefined) throw unusable("there is none");
    this.first = first;
    const contexts = certificates.map((certificate) => [namesOf(certificate), contextOf(certificate)] as const);
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

function contextOf({ cert, key }: Certificate): SecureContext {
  try {
    // Loaded where there are certificates only.
    return process.getBuiltinModule("node:tls").createSecureContext({ cert, key, ...TLS_TERMS });
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
