import { registry } from "@hms/contracts";
import { connectSchemes, createDirectCalls, createElsewhere, frameSchemes } from "@hms/direct-calls";
import { grpcSchemes } from "@hms/direct-calls/grpc";
import { openDirectory } from "@hms/directory";
import { componentPrincipal, type Kernel, type Principal } from "@hms/kernel";

/**
 * Lets kernels call what is registered with the first one's registry and served elsewhere; each lookup is made as the
 * principal on whose behalf the call is, so that its ticket says what its own policies allow.
 */
export function openElsewhere(kernels: readonly [Kernel, ...Kernel[]], stack: AsyncDisposableStack): void {
  const registryFor = (principal: Principal) => kernels[0].client(registry.RegistryService, principal);
  const directory = stack.use(openDirectory({ registry: registryFor(componentPrincipal("server")), registryFor }));
  const calls = stack.use(
    createDirectCalls({ directory, schemes: { ...frameSchemes(), ...grpcSchemes(), ...connectSchemes() } }),
  );
  for (const { options } of kernels) options.elsewhere = createElsewhere(directory, calls);
}
