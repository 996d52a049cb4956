import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { tempFolder } from "./temp-folder.ts";

/** A certificate and its key, in PEM. */
export interface TestCertificate {
  readonly key: string;
  readonly cert: string;
}

/** A certificate authority for one test. */
export interface TestAuthority {
  /** Its own certificate, in PEM. */
  readonly ca: string;
  /** Issues a certificate, valid for a day, for alternative names: "URI:spiffe://test/env/default/svc/a", "DNS:localhost". */
  issue(...names: readonly string[]): TestCertificate;
  /** Issues one that ended years ago. */
  issueEnded(...names: readonly string[]): TestCertificate;
}

const REQUEST = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1"];

/** Makes a certificate authority with the machine's openssl (3.0 or newer). */
export function testAuthority(): TestAuthority {
  const issued = certificate(["-subj", "/CN=test authority", "-addext", "keyUsage=critical,keyCertSign"]);
  const uses = ["-addext", "basicConstraints=critical,CA:FALSE", "-addext", "keyUsage=critical,digitalSignature"];
  const named = (names: readonly string[]) => [
    "-subj",
    "/O=test",
    ...uses,
    "-addext",
    `subjectAltName=${names.join(",")}`,
  ];
  const signer = () => tempFolder({ "ca.pem": issued.cert, "ca.key": issued.key });
  return {
    ca: issued.cert,
    issue(...names) {
      using folder = signer();
      return certificate(["-CA", join(folder.path, "ca.pem"), "-CAkey", join(folder.path, "ca.key"), ...named(names)]);
    },
    issueEnded(...names) {
      using folder = signer();
      return endedCertificate(folder.path, certificate(named(names)));
    },
  };
}

const ENDED = `[ca]
default_ca = test
[test]
database = index.txt
new_certs_dir = .
serial = serial
default_md = sha256
policy = any
copy_extensions = copyall
[any]
organizationName = supplied
`;

/** Only `openssl ca` issues for the past. */
function endedCertificate(folder: string, { key, cert }: TestCertificate): TestCertificate {
  const files = { "ca.cnf": ENDED, "index.txt": "", serial: "01\n", "own.key": key, "own.pem": cert };
  for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text);
  const run = (...args: string[]) =>
    execFileSync("openssl", args, { cwd: folder, stdio: ["ignore", "ignore", "pipe"] });
  run("x509", "-x509toreq", "-in", "own.pem", "-signkey", "own.key", "-copy_extensions", "copyall", "-out", "own.csr");
  const past = ["-startdate", "20200101000000Z", "-enddate", "20200102000000Z"];
  const signed = ["-in", "own.csr", "-out", "ended.pem", "-cert", "ca.pem", "-keyfile", "ca.key"];
  run("ca", "-batch", "-notext", "-config", "ca.cnf", ...past, ...signed);
  return { key, cert: readFileSync(join(folder, "ended.pem"), "utf8") };
}

function certificate(options: readonly string[]): TestCertificate {
  using folder = tempFolder();
  const at = (file: string) => join(folder.path, file);
  const to = ["-keyout", at("key.pem"), "-out", at("cert.pem")];
  execFileSync("openssl", [...REQUEST, ...to, ...options], { stdio: ["ignore", "ignore", "pipe"] });
  return { key: readFileSync(at("key.pem"), "utf8"), cert: readFileSync(at("cert.pem"), "utf8") };
}
