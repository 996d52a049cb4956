import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type TestAuthority, type TestCertificate, testAuthority } from "@hms/testkit";

const SERVER = "spiffe://conformance/env/default/svc/server";
const CLIENT = "spiffe://conformance/env/default/svc/client";

/** Files of certificates, by the names that scenarios have for them. */
export function certificates(folder: string): Record<string, object> {
  const [ours, others] = [testAuthority(), testAuthority()];
  const server = filesOf(join(folder, "server"), ours, ours.issue(`URI:${SERVER}`));
  const client = filesOf(join(folder, "client"), ours, ours.issue(`URI:${CLIENT}`));
  const stranger = filesOf(join(folder, "stranger"), ours, others.issue(`URI:${CLIENT}`));
  const believer = filesOf(join(folder, "believer"), others, ours.issue(`URI:${CLIENT}`));
  const nameless = filesOf(join(folder, "nameless"), ours, ours.issue("DNS:localhost"));
  return {
    serverTls: server,
    clientTls: { ...client, expectedId: SERVER },
    /** Its certificate is of another authority. */
    strangerTls: stranger,
    /** Believes another authority. */
    believerTls: believer,
    /** Expects another server. */
    seekerTls: { ...client, expectedId: `${SERVER}-other` },
    /** Has no SPIFFE id. */
    namelessTls: nameless,
  };
}

function filesOf(folder: string, { ca }: TestAuthority, { key, cert }: TestCertificate) {
  mkdirSync(folder);
  const write = (name: string, text: string) => {
    const path = join(folder, name);
    writeFileSync(path, text, { mode: 0o600 });
    return path;
  };
  return {
    certificate: write("cert.pem", cert),
    key: write("key.pem", key),
    authority: write("ca.pem", ca),
  };
}
