import { X509Certificate } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { isIP } from "node:net";
import { readNetwork, resolveInstance } from "@hms/config";
import { HmsError } from "@hms/kernel/errors";
import type { Invocation } from "../../command-spec.ts";
import { ExitCode } from "../../exit-code.ts";
import { type IssuedCertificate, issueForServer, makeAuthority } from "../../tls/local-authority.ts";
import { commaSeparated } from "../identity/option-lists.ts";

// Clients believe no "*.localhost": environments have to be named. The platform's own host is not: whoever connects reads
// these names, and services must not know it.
const OWN_NAMES = ["localhost", "default.localhost", "127.0.0.1", "::1"];
const NAME = /^(?:\*\.)?(?=.{1,253}$)[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*$/;

/** Gives the gateway a certificate of an authority of this installation's own, made at first use. */
export async function run({ globals, options, output }: Invocation): Promise<number> {
  const paths = resolveInstance(globals);
  const names = [...OWN_NAMES, ...commaSeparated(options.names).map((name) => checked(name.toLowerCase()))];
  const authorityFile = `${paths.config}/local-authority/ca.pem`;
  const authority = await authorityAt(`${paths.config}/local-authority`, paths.instance);
  refuseForeign(`${paths.gatewayTls}/cert.pem`, authority);
  const issued = await issueForServer(authority, names);
  mkdirSync(paths.gatewayTls, { recursive: true, mode: 0o700 });
  put(`${paths.gatewayTls}/key.pem`, issued.key);
  put(`${paths.gatewayTls}/cert.pem`, issued.cert);
  const url = `https://localhost:${readNetwork(paths)?.tlsPort ?? 3443}`;
  const { validTo } = new X509Certificate(issued.cert);
  if (output.json) {
    output.document({ url, names, authority: authorityFile, validTo: new Date(validTo).toISOString() });
    return ExitCode.OK;
  }
  output.result(
    `The gateway shows this within a second, at ${url}, until ${new Date(validTo).toISOString().slice(0, 10)}.`,
  );
  output.note(`Programs that are told of the authority believe it: curl --cacert ${authorityFile} ${url}`);
  return ExitCode.OK;
}

function checked(name: string): string {
  if (isIP(name) !== 0 || NAME.test(name)) return name;
  throw new HmsError(
    "INVALID_ARGUMENT",
    `"${name}" is no host name or address; write shop.test, *.shop.test or 10.0.0.1.`,
  );
}

async function authorityAt(folder: string, instance: string): Promise<IssuedCertificate> {
  const [certFile, keyFile] = [`${folder}/ca.pem`, `${folder}/ca.key`];
  if (existsSync(certFile) && existsSync(keyFile)) {
    return { cert: readFileSync(certFile, "utf8"), key: readFileSync(keyFile, "utf8") };
  }
  const made = await makeAuthority(`HMS-SYS ${instance}, made ${new Date().toISOString().slice(0, 10)}`);
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  put(keyFile, made.key);
  put(certFile, made.cert);
  return made;
}

/** A certificate that somebody else has put there is not to be lost by a command that means well. */
function refuseForeign(file: string, authority: IssuedCertificate): void {
  if (!existsSync(file)) return;
  let isOurs = false;
  try {
    isOurs = new X509Certificate(readFileSync(file)).checkIssued(new X509Certificate(authority.cert));
  } catch {
    // Not a certificate: whatever it is, it is not ours to overwrite.
  }
  if (isOurs) return;
  const message = `${file} is no certificate of the local authority, and stays. Move it and key.pem away first, or put them into a folder beside.`;
  throw new HmsError("FAILED_PRECONDITION", message);
}

/** Written beside and moved: the gateway looks at any time. */
function put(file: string, text: string): void {
  writeFileSync(`${file}.new`, text, { mode: 0o600 });
  renameSync(`${file}.new`, file);
}
