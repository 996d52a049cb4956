import { randomBytes, webcrypto } from "node:crypto";
import { isIP } from "node:net";

/** A certificate and its private key, PEM. */
export interface IssuedCertificate {
  readonly cert: string;
  readonly key: string;
}

/** A key of ECDSA over P-256, which every client understands. */
const ALGORITHM = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };
const DAY_MS = 24 * 3600 * 1000;
const AUTHORITY_DAYS = 3650;
/** What Apple's clients take at most. */
const LEAF_DAYS = 397;
/** Clocks of other machines may be behind. */
const BACKDATED_MS = 3600 * 1000;

const library = async () => {
  // A part of the library asks for it at its import.
  await import("reflect-metadata");
  const x509 = await import("@peculiar/x509");
  x509.cryptoProvider.set(webcrypto as never);
  return x509;
};

const makeKeys = () => webcrypto.subtle.generateKey(ALGORITHM, true, ["sign", "verify"]);

async function keyText(key: webcrypto.CryptoKey): Promise<string> {
  const der = Buffer.from(await webcrypto.subtle.exportKey("pkcs8", key));
  const lines = der.toString("base64").match(/.{1,64}/g) ?? [];
  return `-----BEGIN PRIVATE KEY-----\n${lines.join("\n")}\n-----END PRIVATE KEY-----\n`;
}

function validFor(days: number): { notBefore: Date; notAfter: Date } {
  const now = Date.now();
  return { notBefore: new Date(now - BACKDATED_MS), notAfter: new Date(now + days * DAY_MS) };
}

// The first bit stays clear: a serial number is positive (RFC 5280 §4.1.2.2).
const serial = () => `40${randomBytes(15).toString("hex")}`;

/** Makes an authority that may issue certificates for servers, for ten years. */
export async function makeAuthority(name: string): Promise<IssuedCertificate> {
  const x509 = await library();
  const keys = await makeKeys();
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: serial(),
    name: `CN=${name}`,
    ...validFor(AUTHORITY_DAYS),
    signingAlgorithm: ALGORITHM,
    keys: keys as never,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey as never),
    ],
  });
  return { cert: `${certificate.toString("pem")}\n`, key: await keyText(keys.privateKey) };
}

/** Issues a certificate for a server of these names and addresses, for 397 days. Raises what the library says of a bad authority. */
export async function issueForServer(
  authority: IssuedCertificate,
  names: readonly string[],
): Promise<IssuedCertificate> {
  const x509 = await library();
  const issuer = new x509.X509Certificate(authority.cert);
  const der = Buffer.from(authority.key.replace(/-----[A-Z ]+-----/g, ""), "base64");
  const signingKey = await webcrypto.subtle.importKey("pkcs8", der, ALGORITHM, false, ["sign"]);
  const keys = await makeKeys();
  const alternatives = names.map((name) => ({
    type: isIP(name) === 0 ? ("dns" as const) : ("ip" as const),
    value: name,
  }));
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: serial(),
    subject: "O=HMS-SYS",
    issuer: issuer.subject,
    ...validFor(LEAF_DAYS),
    signingAlgorithm: ALGORITHM,
    publicKey: keys.publicKey as never,
    signingKey: signingKey as never,
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth]),
      new x509.SubjectAlternativeNameExtension(alternatives),
      await x509.AuthorityKeyIdentifierExtension.create(issuer),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey as never),
    ],
  });
  return { cert: `${certificate.toString("pem")}\n`, key: await keyText(keys.privateKey) };
}
