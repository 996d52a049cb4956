import { expect, test } from "vitest";
import { listenProblem } from "./listen-problem.ts";

const at = { protocol: "tcp", address: "0.0.0.0", port: 80 } as const;
const problem = (code: string) => listenProblem(Object.assign(new Error("no"), { code }), at);

test("who may not listen on a low port is told where, why and what to do", () => {
  expect(problem("EACCES")).toBe(
    'This user may not listen on ports below 1024 (0.0.0.0:80); once "sudo hms-sys setup" allows it, or run as root, or take a port from 1024 on.',
  );
});

test("an address that the machine does not have, and anything else, are told as such", () => {
  expect(problem("EADDRNOTAVAIL")).toBe("This machine has no address 0.0.0.0.");
  expect(problem("EMFILE")).toBe("0.0.0.0:80 (tcp) cannot be listened on: no.");
});
