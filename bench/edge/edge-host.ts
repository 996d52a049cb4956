import { registry } from "@hms/contracts";
import { createEdgeServer, Edge } from "@hms/http-edge";
import { componentPrincipal, HmsError, implement, Kernel } from "@hms/kernel";
import { createLocalPolicy, createTokenIdentity } from "@hms/local-access";
import { pipelineKernel, RESPONSE } from "../call/workload.ts";

/** The token that post-json.lua shows. */
const TOKEN = "0f9a7d2c41b84e6d8a5c3b1e7f20d946";

/** A kernel as the server runs it: token, policy, validation, audit, metrics and trace context are on. */
function serverKernel(): Kernel {
  const kernel = new Kernel({
    ...pipelineKernel().options,
    identity: createTokenIdentity([[TOKEN, componentPrincipal("bench")]]),
    policy: createLocalPolicy({ bench: ["registry:read"] }),
  });
  const { RegistryService } = registry;
  const unused = () => {
    throw new HmsError("UNIMPLEMENTED", "Not part of the bench.");
  };
  const others = Object.fromEntries(RegistryService.methods.map(({ localName }) => [localName, unused]));
  kernel.register(implement(RegistryService, { ...others, lookup: () => RESPONSE } as never));
  return kernel;
}

/** Serves the edge: `node edge-host.ts PORT`. */
createEdgeServer(new Edge(serverKernel())).listen(Number(process.argv[2]), "127.0.0.1");
