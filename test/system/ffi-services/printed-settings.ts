import { writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { runCommand } from "../platform.ts";
import { writeKeys } from "./deployed.ts";
import { type Scene, until } from "./scene.ts";

const root = resolve(import.meta.dirname, "../../..");

/** The configuration file as the integration plan prints it, §10.2. */
const PRINTED = `# HMS-FFI configuration
ffi:
  registry:
    url: http://registry:8080
    cache_ttl: 300s
    refresh_interval: 60s
  
  transport:
    default: grpc
    in_process:
      enabled: true
    local_socket:
      enabled: true
      path: /var/run/hms-ffi/sockets
    grpc:
      enabled: true
      max_concurrent_streams: 100
  
  security:
    token_validation_endpoint: http://auth:8080/validate
    required_claims:
      - sub
      - role
    permission_policy: strict
`;

const PYTHON = "from hms_ffi.client import Client; print(Client('SERVICE').call('Add', {'numbers': [4, 5]})['sum'])";
const TYPESCRIPT = `import { Client } from "@hms/ffi";
await using client = new Client("SERVICE");
console.log(String((await client.call("Add", { numbers: [4, 5] })).sum));`;

/** Programs elsewhere are configured by the printed file, and by where the registry answers HTTP. */
export function printedSettingsTests(scene: () => Scene): void {
  describe("a program with the printed configuration file, and HMS_FFI_REGISTRY_URL at the gateway", () => {
    const env: NodeJS.ProcessEnv = {};
    beforeAll(async () => {
      const { platform } = scene();
      const token = writeKeys(platform, [{ id: "ada", roles: ["auditor"] }]).ada ?? "";
      const status = async () => (await scene().rest("/v1/demo.ledger/Add", { token, body: { numbers: [1] } })).status;
      await until(async () => (await status()) === 200, "ada may call");
      const path = join(platform.data, "..", "ffi.yml");
      writeFileSync(path, PRINTED);
      Object.assign(env, {
        PATH: process.env.PATH,
        HMS_FFI_CONFIG_PATH: path,
        HMS_FFI_REGISTRY_URL: platform.url(""),
        HMS_FFI_TOKEN: token,
      });
    });

    test.each([
      ["Python", "demo.orders"],
      ["Python", "demo.ledger"],
      ["TypeScript", "demo.orders"],
      ["TypeScript", "demo.ledger"],
    ])("calls from %s to %s, and is told what has no effect", async (language, service) => {
      const [program, args, cwd] =
        language === "Python"
          ? ["python3", ["-c", PYTHON], join(root, "sdks/python")]
          : [process.execPath, ["--input-type=module", "-e", TYPESCRIPT], root];
      const command = [program, ...args].map((part) => part.replace("SERVICE", service));
      const { code, stdout, stderr } = await runCommand(command, env, { cwd });
      expect([code, stdout.trim()], stderr).toEqual([0, "9"]);
      for (const name of ["token_validation_endpoint", "required_claims"]) {
        expect(stderr).toContain(`${name} has no effect`);
      }
    });
  });
}
