import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { waitFor } from "@hms/testkit";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { languages } from "./languages.ts";
import { PeerProcess } from "./peer-process.ts";
import { type FrameText, frameBytes, frameText, HELLO } from "./raw-frames.ts";
import { RawReader } from "./raw-reader.ts";
import { suites } from "./scenario.ts";

interface Hostile {
  name: string;
  send: (string | { byte: string; times: number })[];
  answers: Record<string, string>;
  closes: boolean;
}

const file = new URL("../hostile-frames.json", import.meta.url);
const corpus = JSON.parse(readFileSync(file, "utf8")) as Hostile[];
const bytesOf = ({ send }: Hostile) =>
  Buffer.concat(
    send.map((part) =>
      typeof part === "string" ? Buffer.from(part, "hex") : Buffer.alloc(part.times, Number.parseInt(part.byte, 16)),
    ),
  );

/** The service that the corpus calls is not served by SDKs' peers; how frames are judged does not depend on it. */
const NOBODY_SERVES = "UNIMPLEMENTED";

/** A connection to a peer's server, and how each of its streams has ended. */
class Attacker {
  readonly socket: Socket;
  readonly frames: FrameText[] = [];
  closed = false;

  constructor(path: string) {
    this.socket = connect(path);
    const reader = new RawReader();
    this.socket.on("data", (piece) => this.frames.push(...reader.push(piece).map(frameText)));
    this.socket.on("error", () => {});
    this.socket.on("close", () => {
      this.closed = true;
    });
  }

  get ends(): Record<string, string> {
    const found: Record<string, string> = {};
    for (const { kind, stream, error } of this.frames)
      if (kind === "response") found[stream ?? 0] = error?.code ?? "OK";
    return found;
  }
}

describe.each(languages())("a server of $name that is sent", (language) => {
  const folder = mkdtempSync(join(tmpdir(), "hms-hostile-"));
  let peer: PeerProcess;
  let path = "";

  beforeAll(async () => {
    peer = new PeerProcess(language, { HMS_FFI_SERVICE_DIR: folder });
    const options = suites().find(({ kind }) => kind === "raw-client")?.server;
    const served = (await peer.tell({ do: "serve", server: "hostile", ...options })) as { address: string };
    path = served.address.replace(/^unix:/, "");
  });
  afterAll(async () => {
    await peer.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  /** Whether others are served as before. */
  async function servesOthers(): Promise<void> {
    const other = new Attacker(path);
    const service = "hms.conformance.v1.ConformanceService";
    const run = { kind: "request", stream: 3, service, method: "Run", json: { text: "a" } };
    for (const frame of [HELLO, run]) other.socket.write(frameBytes(frame));
    await waitFor(() => other.ends[3] === "OK", {
      describe: () => `an answer; there was ${JSON.stringify(other.ends)}`,
    });
    other.socket.destroy();
  }

  test.each(corpus)("$name", async (hostile) => {
    const attacker = new Attacker(path);
    attacker.socket.write(bytesOf(hostile));
    const wanted = Object.keys(hostile.answers);
    await waitFor(() => wanted.every((stream) => stream in attacker.ends), {
      describe: () => `${wanted} to end; there was ${JSON.stringify(attacker.ends)}`,
      deadlineMs: 10_000,
    });
    if (hostile.closes) await waitFor(() => attacker.closed, { describe: "the connection to be ended" });
    else expect(attacker.closed).toBe(false);
    expect(Object.keys(attacker.ends)).toEqual(expect.arrayContaining(wanted));
    for (const [stream, code] of Object.entries(hostile.answers)) {
      expect([code, NOBODY_SERVES], `stream ${stream}`).toContain(attacker.ends[stream]);
    }
    attacker.socket.destroy();
    await servesOthers();
  });
});
