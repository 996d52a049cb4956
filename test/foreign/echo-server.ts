import { createRpcListener, httpProtocols } from "@hms/grpc";
import { HmsError } from "@hms/kernel";
import { echoContract, echoKernel } from "@hms/testkit";
import { serveFrames } from "@hms/wire";

/** An edge of ours for others' clients. */
export async function serveEcho(): Promise<{ port: number } & AsyncDisposable> {
  const contract = echoContract();
  const base = echoKernel(contract).find(contract.typeName, "Unary");
  const kernel = echoKernel(contract, {
    unary: (request, context) => {
      if (request.value === "hang") return new Promise(() => {});
      if (request.value === "details") {
        throw new HmsError("ABORTED", "Why.", { reason: "BUSY", metadata: { holder: "x" }, retryAfterMs: 1_500 });
      }
      return base?.handler(request as never, context as never) as { value: string };
    },
  });
  const also = httpProtocols(createRpcListener(kernel, { openReflection: true, alone: true }));
  const server = await serveFrames(kernel, { address: "tcp://127.0.0.1:0", also, graceMs: 0 });
  return { port: Number(server.address.split(":").at(-1)), [Symbol.asyncDispose]: () => server.close() };
}
