import type { ClientRequest } from "node:http";

/**
 * Tells of the ends of a request for which Node has no "error": an answer 101 although no upgrade was asked for, and a connection
 * that closes before any answer. `reject` may have been called before, or a promise been fulfilled.
 */
export function answerOrEnd(request: ClientRequest, reject: (error: Error) => void): void {
  let isAnswered = false;
  request.once("response", () => {
    isAnswered = true;
  });
  request.once("upgrade", (_, socket) => {
    socket.destroy();
    reject(new Error("the answer was 101 Switching Protocols, which nobody has asked for"));
  });
  request.once("close", () => {
    if (!isAnswered) reject(new Error("the connection was closed before an answer"));
  });
}
