import { once } from "node:events";
import { type ClientHttp2Session, connect, createServer } from "node:http2";
import type { AddressInfo } from "node:net";
import { expect, test } from "vitest";
import { edgeFixture, TOKEN } from "./testing/edge-fixture.ts";

async function ask(session: ClientHttp2Session, method: string, path: string, body?: string) {
  const type = body === undefined ? {} : { "content-type": "application/json" };
  const fields = { ":method": method, ":path": path, authorization: `Bearer ${TOKEN}`, ...type };
  const stream = session.request(fields, { endStream: body === undefined });
  stream.setEncoding("utf8");
  if (body !== undefined) stream.end(body);
  let text = "";
  stream.on("data", (chunk) => (text += chunk));
  const [headers] = await once(stream, "response");
  await once(stream, "end");
  return { status: headers[":status"], type: headers["content-type"], text };
}

test("the same routes answer HTTP/2, bodies, streams and errors alike", async () => {
  await using fixture = await edgeFixture();
  const server = createServer(fixture.edge.listener as never).listen(0, "127.0.0.1");
  await once(server, "listening");
  const session = connect(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  expect(await ask(session, "GET", "/v1/books/x")).toMatchObject({ status: 200, type: "application/json" });
  const posted = await ask(session, "POST", "/v1/shelves/7/books?bookId=b1", '{"title":"Dune"}');
  expect(JSON.parse(posted.text)).toEqual({ name: "shelves/7/books/b1", title: "Dune" });
  expect((await ask(session, "POST", "/v1/hms.library/Count")).status).toBe(200);
  expect((await ask(session, "GET", "/v1/books:watch?count=3")).text.trim().split("\n")).toHaveLength(3);
  expect(await ask(session, "GET", "/v1/nothing")).toMatchObject({ status: 404 });
  expect(await ask(session, "DELETE", "/v1/books/x", "{}")).toMatchObject({ status: 405 });
  session.close();
  server.close();
  await once(server, "close");
});
