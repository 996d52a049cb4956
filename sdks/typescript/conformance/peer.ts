import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { ClientRole } from "./client-role.ts";
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
};

async function obey(order: Order): Promise<void> {
  let answer: object;
  try {
    const command = commands[order.do];
    if (command === undefined) throw new Error(`There is no command ${order.do}.`);
    answer = { id: order.id, result: await command(order) };
  } catch (error) {
    answer = { id: order.id, failure: error instanceof Error ? (error.stack ?? error.message) : String(error) };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}

const lines = createInterface({ input: process.stdin });
lines.on("line", (line) => void obey(JSON.parse(line) as Order));
lines.on("close", () => process.exit(0));
