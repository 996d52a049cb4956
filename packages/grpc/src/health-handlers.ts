import type { DescService } from "@bufbuild/protobuf";
import { grpcHealth } from "@hms/contracts";
import { type CallContext, HmsError, type Kernel, type ServiceImplementation } from "@hms/kernel";

const { SERVING, SERVICE_UNKNOWN } = grpcHealth.HealthCheckResponse_ServingStatus;

/** grpc.health.v1 of a kernel: what can be called is serving, whether its instances are up is found out by the call. */
export function healthHandlers(
  kernel: Kernel,
  also: readonly DescService[],
): ServiceImplementation<typeof grpcHealth.Health> {
  const names = ({ metadata }: CallContext) => {
    const services = [...also, ...kernel.services(metadata["x-hms-environment"] ?? "default")];
    return new Set(services.map(({ typeName }) => typeName));
  };
  const statusOf = (service: string, context: CallContext) =>
    service === "" || names(context).has(service) ? SERVING : SERVICE_UNKNOWN;
  return {
    check({ service }, context) {
      const status = statusOf(service, context);
      if (status === SERVING) return { status };
      throw new HmsError(
        "NOT_FOUND",
        `There is no service ${service.slice(0, 200)} here; ask for "" to check the server.`,
      );
    },
    list(_, context) {
      return { statuses: Object.fromEntries([...names(context)].map((name) => [name, { status: SERVING }])) };
    },
    async *watch({ service }, context) {
      for (let before: number | undefined; ; ) {
        const changed = kernel.changed.next(context.signal);
        // Its end is found by the iteration that awaits it.
        changed.catch(() => {});
        const status = statusOf(service, context);
        if (status !== before) yield { status };
        before = status;
        await changed;
      }
    },
  };
}
