import { spawn, spawnSync } from "node:child_process";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { openTestPlatform, type TestPlatform } from "@hms/direct-calls/testing";
import { waitFor } from "@hms/testkit";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { Client, FfiError, NotFoundError, serve } from "../../typescript/src/index.ts";

const here = fileURLToPath(new URL(".", import.meta.url));
const sdk = fileURLToPath(new URL("../../python", import.meta.url));
const python = process.env.PYTHON ?? "python3";
const installed =
  spawnSync(python, ["-c", "import sys; sys.exit(sys.version_info < (3, 9))"], { stdio: "ignore" }).status === 0;

let stack = new AsyncDisposableStack();
let platform: TestPlatform;
beforeEach(async () => {
  stack = new AsyncDisposableStack();
  platform = stack.use(await openTestPlatform());
});
afterEach(() => stack.disposeAsync());

/** A Python program of this folder, connected as whoever has the token. */
function run(file: string, token: string) {
  const env = { ...process.env, PYTHONPATH: sdk, HMS_FFI_SOCKET: platform.path, HMS_FFI_TOKEN: token };
  const child = spawn(python, [`${here}/${file}`], { env, stdio: ["pipe", "pipe", "pipe"] });
  const ended = Promise.all([text(child.stdout), text(child.stderr)]);
  stack.defer(async () => {
    child.kill("SIGKILL");
    await ended;
  });
  return { child, ended };
}

describe.skipIf(!installed)("the samples of HMS-FFI's integration plan", () => {
  test("4.3: Python as printed calls the transaction service, in TypeScript", { timeout: 60_000 }, async () => {
    const service = await serve({
      serviceId: "hms.ach.transaction",
      methods: {
        process_transaction: (params: Record<string, string>) => {
          if (params.amount === "-1") throw new FfiError("INVALID_ARGUMENT", "No such amount.");
          const transactionId = `${params.type}-${params.source_account_id}-${params.destination_account_id}`;
          return { transaction_id: transactionId, status: "settled", confirmation_code: params.description };
        },
      },
      ...platform.connect("svc"),
    });
    stack.use(service);
    await service.registered;
    const { child, ended } = run("processor.py", "anna");
    const transaction = { type: "debit", source: "a", destination: "b", description: "rent" };
    child.stdin.end(
      JSON.stringify([
        { id: 1, amount: "12.50", ...transaction },
        { id: 2, amount: "-1", ...transaction },
      ]),
    );
    const [said, complaints] = await ended;
    expect(complaints).toBe("");
    const result = { transaction_id: "debit-a-b", status: "settled", confirmation_code: "rent" };
    expect(JSON.parse(said)).toEqual([
      { id: 1, status: "success", result },
      { id: 2, status: "error", error: "No such amount. (INVALID_ARGUMENT)" },
    ]);
  });

  test("4.1 and 4.2: TypeScript calls the debate and patient services, in Python", { timeout: 60_000 }, async () => {
    run("services.py", "svc");
    const cdfClient = stack.use(new Client("hms.cdf.debate", platform.connect()));
    const params = { policy_id: "p-7", resource: { kind: "file" } };
    const evaluate = () => cdfClient.call("EvaluatePolicy", params, { timeoutMs: 30_000 });
    const evaluation = await waitFor(evaluate, { describe: "the services to be registered", intervalMs: 100 });
    expect(evaluation).toEqual({ policy_id: "p-7", allowed: true });
    const emrClient = stack.use(new Client("hms.emr.patient", platform.connect()));
    const patient = await waitFor(() => emrClient.call("GetPatient", { patient_id: "p-1" }), {
      describe: "the patient service to be registered",
      intervalMs: 100,
    });
    expect(patient).toEqual({ patient_id: "p-1", name: "Ada" });
    const error = await emrClient.call("GetPatient", { patient_id: "p-9" }).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(NotFoundError);
    expect(String(error)).toContain("failed to retrieve patient: p-9");
  });
});
