import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { join } from "node:path";
import { startStockServer } from "@hms/service-registry/testing";
import { waitFor } from "@hms/testkit";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Platform, startPlatform } from "../system/platform.ts";
import { missing, python } from "./foreign-tools.ts";
import { type SpanCollector, startSpanCollector, treeOf } from "./span-collector.ts";

const noPython = missing("python3");
const here = (name: string) => join(import.meta.dirname, name);

/** What comes of one order. */
const TREE = [
  "shop INTERNAL order",
  "  shop CLIENT demo.books.v1.BooksService/Settle",
  "    books SERVER demo.books.v1.BooksService/Settle",
  "      books CLIENT helloworld.Greeter/SayHello",
  "        hms-server SERVER helloworld.Greeter/SayHello",
  "      books CLIENT hms.sys.integration.v1.EventService/Publish",
  "        hms-server SERVER hms.sys.integration.v1.EventService/Publish",
  "      books CLIENT hms.sys.integration.v1.OperationService/StartOperation",
  "        hms-server SERVER hms.sys.integration.v1.OperationService/StartOperation",
  "          hms-server SERVER demo.shop.v1.ShopService/Ship",
  "            shop SERVER demo.shop.v1.ShopService/Ship",
  "      books CLIENT hms.sys.integration.v1.OperationService/WaitOperation",
  "        hms-server SERVER hms.sys.integration.v1.OperationService/WaitOperation",
  "  shop CLIENT hms.sys.integration.v1.EventService/Publish",
  "    hms-server SERVER hms.sys.integration.v1.EventService/Publish",
  "  shop CLIENT hms.sys.integration.v1.OperationService/StartOperation",
  "    hms-server SERVER hms.sys.integration.v1.OperationService/StartOperation",
  "      hms-server SERVER demo.books.v1.BooksService/Archive",
  "        books SERVER demo.books.v1.BooksService/Archive",
  "  shop CLIENT hms.sys.integration.v1.OperationService/WaitOperation",
  "    hms-server SERVER hms.sys.integration.v1.OperationService/WaitOperation",
];

interface Line {
  message: string;
  traceId?: string;
}

/** A program and what it has said. */
class Program {
  readonly child: ChildProcess;
  readonly lines: Line[] = [];
  complaints = "";

  constructor([command = "", ...args]: string[], env: NodeJS.ProcessEnv) {
    this.child = spawn(command, args, { env, cwd: here("../.."), stdio: ["pipe", "pipe", "pipe"] });
    let rest = "";
    this.child.stdout?.setEncoding("utf8").on("data", (text: string) => {
      const lines = (rest + text).split("\n");
      rest = lines.pop() ?? "";
      this.lines.push(...lines.filter((line) => line.startsWith("{")).map((line) => JSON.parse(line) as Line));
    });
    this.child.stderr?.setEncoding("utf8").on("data", (text: string) => {
      this.complaints += text;
    });
  }

  /** A line that it says, sooner or later. */
  says(beginning: string): Promise<Line> {
    const said = () => this.lines.find(({ message }) => message.startsWith(beginning));
    const describe = () => `"${beginning}"; it said ${JSON.stringify(this.lines)} ${this.complaints}`;
    return waitFor(said, { deadlineMs: 60_000, describe }) as Promise<Line>;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    const ended = new Promise((done) => this.child.once("exit", done));
    this.child.kill("SIGTERM");
    const hard = setTimeout(() => this.child.kill("SIGKILL"), 10_000);
    await ended;
    clearTimeout(hard);
  }
}

describe.skipIf(noPython)(`spans that each process exports by OTLP${noPython ? `: skipped, ${noPython}` : ""}`, () => {
  const stack = new AsyncDisposableStack();
  let collector: SpanCollector;
  let platform: Platform;
  let stock: Awaited<ReturnType<typeof startStockServer>>;
  let shop: Program;
  let books: Program;

  beforeAll(async () => {
    const { status, stdout, stderr } = spawnSync(await python(), [here("otlp_contract.py")]);
    expect(status, String(stderr)).toBe(0);
    collector = stack.use(await startSpanCollector(stdout));
    stock = stack.use(await startStockServer({ protos: ["greeter"] }));
    const exporting = { OTEL_EXPORTER_OTLP_ENDPOINT: collector.endpoint };
    // Nothing but what a sampled caller asks for.
    platform = stack.use(await startPlatform({ env: { ...exporting, OTEL_TRACES_SAMPLER_ARG: "0" } }));
    expect(await platform.cli("ffi", "register", stock.address)).toMatchObject({ code: 0 });
    const env = { ...platform.env, ...exporting, PYTHONPATH: here("../../sdks/python"), PYTHONUNBUFFERED: "1" };
    books = stack.use(new Program([await python(), here("traced/books.py")], env));
    shop = stack.use(new Program([process.execPath, here("traced/shop.ts")], env));
    await Promise.all([books.says("books is ready"), shop.says("shop is ready")]);
    // The services are registered once they can be called.
    for (const service of ["demo.books", "demo.shop"]) {
      await waitFor(async () => (await platform.cli("ffi", "describe", service)).code === 0, {
        describe: service,
        intervalMs: 200,
        deadlineMs: 60_000,
      });
    }
  });
  afterAll(() => stack.disposeAsync());

  test("make one tree: calls, through the edge, operations and events, in three processes; log lines name it", async () => {
    shop.child.stdin?.write("Ada\n");
    const { message, traceId = "" } = await shop.says("shop has ordered");
    expect(message).toBe("shop has ordered: Hello Ada");
    const mine = () => collector.spans.filter((span) => span.traceId === traceId);
    await waitFor(() => treeOf(mine()).length >= TREE.length, {
      deadlineMs: 30_000,
      describe: () => `all spans; there are\n${treeOf(mine()).join("\n")}`,
    });
    expect(treeOf(mine())).toEqual(TREE);
    // None has a parent that nobody knows.
    expect(mine()).toHaveLength(TREE.length);
    expect(Object.fromEntries(collector.encodings)).toEqual({
      shop: "application/json",
      "hms-server": "application/json",
      books: "application/x-protobuf",
    });
    const edge = mine().find(({ process, name }) => process === "hms-server" && name === "helloworld.Greeter/SayHello");
    expect(stock.metadata.map(({ traceparent }) => String(traceparent))).toEqual([`00-${traceId}-${edge?.spanId}-01`]);
    for (const line of ["books settles", "books archives", "books hears demo.traced.shop.ordered"]) {
      expect(await books.says(line)).toEqual({ message: line, traceId });
    }
    for (const line of ["shop ships", "shop hears demo.traced.books.settled"]) {
      expect(await shop.says(line)).toEqual({ message: line, traceId });
    }
  });
});
