import { chmodSync, writeFileSync } from "node:fs";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import { tempFolder } from "@hms/testkit";
import { SMTPServer, type SMTPServerOptions } from "smtp-server";
import { expect, test } from "vitest";
import { createSmtpMailer } from "./index.ts";

interface Received {
  recipients: string[];
  message: string;
}

/** A real mail server, and the mailer of an installation that knows it. */
async function mailServer(options: SMTPServerOptions = {}, host = "127.0.0.1") {
  const stack = new AsyncDisposableStack();
  const received: Received[] = [];
  const server = new SMTPServer({
    authOptional: true,
    disabledCommands: options.onAuth ? ["STARTTLS"] : ["STARTTLS", "AUTH"],
    onData(stream, session, done) {
      void text(stream).then((message) => {
        received.push({ recipients: session.envelope.rcptTo.map(({ address }) => address), message });
        done();
      });
    },
    ...options,
  });
  server.on("error", () => {});
  await new Promise<void>((resolve) => server.listen(0, host, () => resolve()));
  stack.defer(() => new Promise<void>((resolve) => server.close(() => resolve())));
  const { port } = server.server.address() as AddressInfo;
  const folder = stack.use(tempFolder());
  const file = `${folder.path}/mail.json`;
  const write = (settings: object) => writeFileSync(file, JSON.stringify(settings), { mode: 0o600 });
  return {
    received,
    port,
    file,
    write,
    mailer: createSmtpMailer(file),
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

const MAIL = { to: "anna@example.org", subject: "Grüße – your link", text: "http://x.localhost/y?token=abc\n.\nend\n" };

test("a mail arrives at its one reader, as it was written, from whom the file says", async () => {
  await using scene = await mailServer();
  expect(scene.mailer.isSetUp).toBe(false);
  await expect(scene.mailer.send(MAIL)).rejects.toMatchObject({ code: "FAILED_PRECONDITION" });
  scene.write({ server: `smtp://127.0.0.1:${scene.port}`, from: "HMS-SYS <ops@example.org>" });
  expect(scene.mailer.isSetUp).toBe(true);
  await scene.mailer.send(MAIL);
  const [{ recipients, message } = { recipients: [], message: "" }] = scene.received;
  expect(recipients).toEqual(["anna@example.org"]);
  expect(message).toMatch(/^From: "?HMS-SYS"? <ops@example\.org>\r$/m);
  expect(message).toMatch(/^Subject: =\?UTF-8\?/m);
  expect(message).toContain("http://x.localhost/y?token=abc\r\n.\r\nend");
});

test("nothing in an address or a subject becomes another reader or a field of the mail", async () => {
  await using scene = await mailServer();
  scene.write({ server: `smtp://127.0.0.1:${scene.port}`, from: "ops@example.org" });
  const hostile = [
    { ...MAIL, subject: "x\r\nBcc: thief@example.org\r\n\r\nbody" },
    { ...MAIL, to: "anna@example.org\r\nBcc: thief@example.org" },
    { ...MAIL, to: "anna@example.org, thief@example.org" },
    { ...MAIL, to: "anna@example.org>\r\nRCPT TO:<thief@example.org" },
  ];
  for (const mail of hostile) await scene.mailer.send(mail).catch(() => {});
  expect(scene.received.length).toBeGreaterThan(0);
  for (const { recipients, message } of scene.received) {
    expect(recipients).not.toContain("thief@example.org");
    expect(message.split("\r\n\r\n")[0]).not.toMatch(/^bcc:/im);
  }
});

test("a server that wants a name and a password gets them, and says no to wrong ones", async () => {
  await using scene = await mailServer({
    authOptional: false,
    allowInsecureAuth: true,
    onAuth: ({ username, password }, _session, done) =>
      username === "ops@x" && password === "p:@ß" ? done(null, { user: "ops" }) : done(new Error("wrong")),
  });
  const address = (password: string) =>
    `smtp://${encodeURIComponent("ops@x")}:${encodeURIComponent(password)}@127.0.0.1:${scene.port}`;
  scene.write({ server: address("p:@ß"), from: "ops@example.org" });
  await scene.mailer.send(MAIL);
  expect(scene.received).toHaveLength(1);
  const kept = `${scene.file}-password`;
  writeFileSync(kept, "p:@ß\n");
  const elsewhere = {
    server: `smtp://${encodeURIComponent("ops@x")}@127.0.0.1:${scene.port}`,
    from: "ops@example.org",
  };
  scene.write({ ...elsewhere, password_file: kept });
  await scene.mailer.send(MAIL);
  expect(scene.received).toHaveLength(2);
  scene.write({ ...elsewhere, password_file: "/nowhere" });
  await expect(scene.mailer.send(MAIL)).rejects.toThrow(
    /password_file of mail.json gives no secret: \/nowhere cannot be read/,
  );
  scene.write({ server: address("p:@ß"), from: "ops@example.org", password_file: kept });
  await expect(scene.mailer.send(MAIL)).rejects.toThrow(/a user without password/);
  scene.write({ server: address("other"), from: "ops@example.org" });
  const refused = scene.mailer.send(MAIL);
  await expect(refused).rejects.toMatchObject({ code: "UNAVAILABLE" });
  await expect(refused).rejects.not.toThrow(/other/);
});

test("a mail file that others can read, or that says nothing useful, is refused with what to do", async () => {
  await using scene = await mailServer();
  scene.write({ server: "http://x", form: "ops@example.org", from: "no address" });
  await expect(scene.mailer.send(MAIL)).rejects.toThrow(/is no mail server.*is no address|did you mean from/s);
  chmodSync(scene.file, 0o644);
  await expect(scene.mailer.send(MAIL)).rejects.toThrow(/chmod 600/);
});

test("a server elsewhere that offers no TLS gets neither password nor mail", async () => {
  await using scene = await mailServer({}, "127.0.0.2");
  // 127.0.0.2 is this machine too, but not one of the names that are taken for it.
  scene.write({ server: `smtp://user:pw@127.0.0.2:${scene.port}`, from: "ops@example.org" });
  await expect(scene.mailer.send(MAIL)).rejects.toThrow(/TLS|STARTTLS/);
  expect(scene.received).toEqual([]);
});
