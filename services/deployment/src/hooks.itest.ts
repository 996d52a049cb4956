import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { deployment } from "@hms/contracts";
import { afterAll, afterEach, beforeEach, expect, test } from "vitest";
import { deploymentHost, openSite } from "./testing/test-site.ts";

const { RolloutState } = deployment;

afterAll(() => deploymentHost[Symbol.asyncDispose]());

let site: Awaited<ReturnType<typeof openSite>>;
let told: object[];
const hook = createServer(async (request, response) => {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  told.push(JSON.parse(Buffer.concat(chunks).toString()));
  response.statusCode = request.url === "/refuse" ? 403 : 204;
  response.end();
});
let address = "";
beforeEach(async () => {
  told = [];
  await new Promise<void>((resolve) => hook.listen(0, "127.0.0.1", resolve));
  address = `http://127.0.0.1:${(hook.address() as AddressInfo).port}`;
  site = await openSite();
});
afterEach(async () => {
  hook.close();
  await site[Symbol.asyncDispose]();
});

type Outcome = Awaited<ReturnType<typeof site.deploy>>;
const outputs = ({ events }: Outcome) =>
  events.flatMap(({ event }) => (event.case === "stepOutput" ? [event.value.text] : []));
const deploy = (version: string, hooks: string) => site.deploy({ version, replicas: 1, manifest: `hooks:\n${hooks}` });

test("hooks run in the release at their moments, tell web-hooks, and undo a deploy or do not, as they should", async () => {
  const first = await deploy(
    "1",
    `  before_deploy: [{run: 'test -f server.js && echo $HMS_HOOK $HMS_REVISION $HMS_PREVIOUS_REVISION'}]
  before_traffic: [{webhook: '${address}/told'}, {run: exit 4, on_error: ignore}, {run: 'printf "a\\000b\\n" # ${"x".repeat(38)}😀${"x".repeat(9)}'}]
  after_deploy: [{webhook: '${address}/refuse'}]
  on_failure: [{webhook: '${address}/never'}]
`,
  );
  expect(first.ended.state).toBe(RolloutState.SUCCEEDED);
  // What a database refuses, a NUL and half of a pair in the hook's name, is replaced.
  expect(outputs(first)).toEqual(["before_deploy 1 0", "a\ufffdb"]);
  const facts = { environment: "default", service: "echo", rolloutId: expect.any(String), previousRevision: 0 };
  expect(told).toEqual([
    { ...facts, revision: 1, version: "1", hook: "before_traffic" },
    { ...facts, revision: 1, version: "1", hook: "after_deploy" },
  ]);
  expect(first.titles.filter((title) => title.includes("ignored"))).toEqual([
    expect.stringContaining("The hook exit 4 (before_traffic) ended with exit code 4."),
    expect.stringContaining("(after_deploy) answered HTTP 403."),
  ]);

  told = [];
  const second = await deploy(
    "2",
    `  before_traffic: [{run: 'echo looking; sleep 30', timeout: 1s}]
  on_failure: [{run: 'echo $HMS_FAILURE'}, {webhook: '${address}/failed'}, {webhook: 'http://169.254.169.254/'}]
`,
  );
  expect(second.ended).toMatchObject({
    state: RolloutState.ROLLED_BACK,
    revision: 1n,
    failure: { reason: expect.stringMatching(/^The hook echo looking; sleep 30 \(before_traffic\) was not done in/) },
  });
  expect(outputs(second).at(-1)).toMatch(/^The hook echo looking/);
  expect(told).toEqual([
    expect.objectContaining({ hook: "on_failure", outcome: "rolled_back", reason: second.ended.failure?.reason }),
  ]);
  expect(second.titles.at(-1)).toMatch(
    /webhook 169.254.169.254 failed, which is ignored: .*a network where no service is/,
  );
  expect(site.plane.active.map(({ revision }) => Number(revision))).toEqual([1]);

  // What fails before there is a release has none to run hooks in.
  const third = await site.deploy({
    version: "3",
    replicas: 1,
    manifest: `hooks: {before_deploy: [{run: exit 1}], on_failure: [{run: echo told}]}`,
  });
  expect(third.ended.failure).toMatchObject({ reason: "The hook exit 1 (before_deploy) ended with exit code 1." });
  expect(third.titles.slice(-2)).toEqual(["✗ Running the hook exit 1 (before_deploy)", "Hook echo told done"]);
}, 60_000);
