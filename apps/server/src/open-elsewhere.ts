import { existsSync } from "node:fs";
import { registry } from "@hms/contracts";
import { connectSchemes, createDirectCalls, createElsewhere, frameSchemes } from "@hms/direct-calls";
import { grpcSchemes } from "@hms/direct-calls/grpc";
import { openDirectory } from "@hms/directory";
import { componentPrincipal, type Kernel, type Principal } from "@hms/kernel";
import { openTlsFiles, tlsFilesIn } from "@hms/parts";
import type { TlsIdentity } from "@hms/wire";

/** Who calls, and where the files are by which it shows that over TLS. */
export interface ElsewhereOptions {
  kernels: readonly [Kernel, ...Kernel[]];
  /** cert.pem, key.pem and ca.pem lie there, or nothing: tls and grpcs addresses cannot be called then. */
  tlsFolder: string;
}

/**
 * Lets kernels call what is registered with the first one's registry and served elsewhere; each lookup is made as the
 * principal on whose behalf the call is, so that its ticket says what its own policies allow.
 */
export function openElsewhere({ kernels, tlsFolder }: ElsewhereOptions, stack: AsyncDisposableStack): void {
  const registryFor = (principal: Principal) => kernels[0].client(registry.RegistryService, principal);
  const directory = stack.use(openDirectory({ registry: registryFor(componentPrincipal("server")), registryFor }));
  const tls = identityIn(tlsFolder);
  const own = tls === undefined ? {} : { tls };
  const schemes = { ...frameSchemes(own), ...grpcSchemes(own), ...connectSchemes() };
  const calls = stack.use(createDirectCalls({ directory, schemes }));
  for (const { options } of kernels) options.elsewhere = createElsewhere(directory, calls);
}

function identityIn(folder: string): TlsIdentity | undefined {
  const files = tlsFilesIn(folder);
  return existsSync(files.cert) ? openTlsFiles(files) : undefined;
}
