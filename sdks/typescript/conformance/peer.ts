import { readFileSync } from "node:fs";
import { ClientRole } from "./client-role.ts";
import { PlatformRole } from "./platform-role.ts";
import { ServerRole } from "./server-role.ts";

/** What the runner orders (sdks/conformance/README.md). */
export interface Order {
  id: number;
  do: string;
  [argument: string]: unknown;
}

type Command = (order: Order) => unknown;

const contract = new Uint8Array(readFileSync(new URL("../../conformance/contract.binpb", import.meta.url)));
const server = new ServerRole(contract);
const client = new ClientRole(contract);

const commands: Record<string, Command> = {
  hello: () => ({ language: "typescript", version: process.versions.node }),
  ...server.commands,
  ...client.commands,
  ...new PlatformRole(client).commands,
};

/** JSON without anything that a reader could take for the end of a line. */
function oneLine(value: unknown): string {
  return JSON.stringify(value).replace(/[\u2028\u2029]/g, (end) => `\\u${end.charCodeAt(0).toString(16)}`);
}

async function obey(order: Order): Promise<void> {
  let answer: object;
  try {
    const command = commands[order.do];
    if (command === undefined) throw new Error(`There is no command ${order.do}.`);
    answer = { id: order.id, result: await command(order) };
  } catch (error) {
    answer = { id: order.id, failure: error instanceof Error ? (error.stack ?? error.message) : String(error) };
  }
  process.stdout.write(`${oneLine(answer)}\n`);
}

// Not readline: it takes U+2028, which JSON may hold as it is, for the end of a line.
let rest = "";
process.stdin.setEncoding("utf8");
process.stdin.on("data", (chunk: string) => {
  const lines = (rest + chunk).split("\n");
  rest = lines.pop() ?? "";
  for (const line of lines) void obey(JSON.parse(line) as Order);
});
process.stdin.on("end", () => process.exit(0));
