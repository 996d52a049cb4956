import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
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
}

const REQUEST = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1"];

/** Makes a certificate authority with the machine's openssl (3.0 or newer). */
export function testAuthority(): TestAuthority {
  const issued = certificate(["-subj", "/CN=test authority", "-addext", "keyUsage=critical,keyCertSign"]);
  return {
    ca: issued.cert,
    issue(...names) {
      using signer = tempFolder({ "ca.pem": issued.cert, "ca.key": issued.key });
      const by = ["-CA", join(signer.path, "ca.pem"), "-CAkey", join(signer.path, "ca.key")];
      const uses = ["-addext", "basicConstraints=critical,CA:FALSE", "-addext", "keyUsage=critical,digitalSignature"];
      return certificate([...by, "-subj", "/O=test", ...uses, "-addext", `subjectAltName=${names.join(",")}`]);
    },
  };
}

function certificate(options: readonly string[]): TestCertificate {
  using folder = tempFolder();
  const at = (file: string) => join(folder.path, file);
  const to = ["-keyout", at("key.pem"), "-out", at("cert.pem")];
  execFileSync("openssl", [...REQUEST, ...to, ...options], { stdio: ["ignore", "ignore", "pipe"] });
  return { key: readFileSync(at("key.pem"), "utf8"), cert: readFileSync(at("cert.pem"), "utf8") };
}
