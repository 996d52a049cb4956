import { createInProcessTransport, HmsError, Kernel, type Principal } from "@hms/kernel";
import { parseManifest } from "@hms/manifest";
import { expect, test } from "vitest";
import type { Invocation } from "../command-spec.ts";
import { deployMany } from "./deploy-many.ts";

const operator: Principal = { kind: "operator", id: "operator" };

/** A command whose platform has no automation service. */
function invocation(options: Invocation["options"] = {}) {
  const kernel = new Kernel({
    identity: { authenticate: () => operator },
    policy: { decide: () => ({ allowed: true }) },
    audit: { accepts: true, record() {} },
  });
  const session = { platform: createInProcessTransport(kernel, operator) };
  const said: string[] = [];
  const given = {
    options: { onFailure: "halt", ...options },
    globals: { environment: "default" },
    output: {
      json: false,
      note: (line: string) => void said.push(line),
      result: (line: string) => void said.push(line),
    },
    session: () => session,
    signal: new AbortController().signal,
  } as unknown as Invocation;
  return { given, said };
}

const manifests = ["web:api", "api"].map((text) => {
  const [name = "", needs] = text.split(":");
  const manifest = `name: ${name}\nrun: {command: x}\n${needs ? `needs: [${needs}]` : ""}`;
  const parsed = parseManifest(manifest);
  return { manifest, manifestPath: `/x/${name}.hms.yml`, variables: {}, parsed, file: `${name}.hms.yml` };
});

test("without the part that carries runs nothing is begun, and the way around is told in the right order", async () => {
  const { given, said } = invocation();
  const error = await deployMany(given, manifests).then(() => undefined, HmsError.from);
  expect(said).toEqual(["In this order: api, web"]);
  expect(error?.message).toMatch(
    /is a run, and the automation service.* cannot be reached: .*Nothing was begun.*one by one:\n {2}hms-sys deploy api.hms.yml\n {2}hms-sys deploy web.hms.yml$/s,
  );
});

test("a policy that there is not is refused with those that there are", async () => {
  const refused = deployMany(invocation({ onFailure: "panic" }).given, manifests);
  await expect(refused).rejects.toThrow('--on-failure is "panic"; write halt, continue, rollback-all.');
});
