import { createPrivateKey, createPublicKey, webcrypto, X509Certificate } from "node:crypto";

const ALGORITHM = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" };

const library = async () => {
  // A part of the library asks for it at its import.
  await import("reflect-metadata");
  const x509 = await import("@peculiar/x509");
  x509.cryptoProvider.set(webcrypto as never);
  return x509;
};

/** A certificate request for one name, signed by its key; base64url, as an order is finalized with (RFC 8555 §7.4). */
export async function certificateRequest(name: string, privateKeyPem: string): Promise<string> {
  const x509 = await library();
  const privateKey = createPrivateKey(privateKeyPem);
  const publicDer = createPublicKey(privateKey).export({ format: "der", type: "spki" });
  const privateDer = privateKey.export({ format: "der", type: "pkcs8" });
  const { subtle } = webcrypto;
  const request = await x509.Pkcs10CertificateRequestGenerator.create({
    name: "",
    keys: {
      publicKey: (await subtle.importKey("spki", publicDer, ALGORITHM, true, ["verify"])) as never,
      privateKey: (await subtle.importKey("pkcs8", privateDer, ALGORITHM, false, ["sign"])) as never,
    },
    signingAlgorithm: ALGORITHM,
    extensions: [new x509.SubjectAlternativeNameExtension([{ type: "dns", value: name }])],
  });
  return Buffer.from(request.rawData).toString("base64url");
}

/** How an authority knows a certificate when asked for its renewal (RFC 9773 §4.1); undefined: it names no issuer's key. */
export async function renewalIdOf(pem: string): Promise<string | undefined> {
  const x509 = await library();
  const certificate = new x509.X509Certificate(pem);
  const keyId = certificate.getExtension(x509.AuthorityKeyIdentifierExtension)?.keyId;
  if (keyId === undefined) return undefined;
  const serial = new X509Certificate(pem).serialNumber;
  // A number whose first bit is set would be negative in DER.
  const bytes = Buffer.from(serial.length % 2 === 0 ? serial : `0${serial}`, "hex");
  const integer = (bytes[0] ?? 0) >= 0x80 ? Buffer.concat([Buffer.of(0), bytes]) : bytes;
  return `${Buffer.from(keyId, "hex").toString("base64url")}.${integer.toString("base64url")}`;
}
