import { once } from "node:events";
import { request } from "node:http";
import { type AddressInfo, createServer } from "node:net";
import { expect, test } from "vitest";
import { answerOrEnd } from "./index.ts";

/** What a request comes to at a server that says this, and closes. */
async function ask(answer: string): Promise<string> {
  const server = createServer((socket) => {
    socket.on("error", () => {});
    socket.once("data", () => socket.end(answer));
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  try {
    return await new Promise((resolve, reject) => {
      const asked = request({ host: "127.0.0.1", port, agent: false });
      asked.once("error", reject);
      asked.once("response", (response) => {
        let text = "";
        response.setEncoding("utf8").on("data", (piece: string) => {
          text += piece;
        });
        response.once("end", () => resolve(text));
      });
      answerOrEnd(asked, reject);
      asked.end();
    });
  } finally {
    server.close();
  }
}

test("an answer is an answer, though the connection closes with it", async () => {
  expect(await ask("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")).toBe("ok");
  expect(await ask(`HTTP/1.1 200 OK\r\n\r\n${"x".repeat(100_000)}`)).toHaveLength(100_000);
});

test("an upgrade that nobody has asked for, and no answer at all, are errors", async () => {
  const upgrade = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n";
  await expect(ask(upgrade)).rejects.toThrow(/101 Switching Protocols/);
  await expect(ask("")).rejects.toThrow(/socket hang up|closed before an answer/);
});
