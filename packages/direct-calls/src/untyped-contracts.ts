import { create } from "@bufbuild/protobuf";
import { registry } from "@hms/contracts";
import { contractOfSchemas } from "@hms/descriptors";
import { keyText, packageOf, type ServiceContract, type ServiceKey } from "@hms/directory";

const METHOD_NAME = /^[A-Z][A-Za-z0-9]{0,99}$/;
const MOST_KEPT = 1_000;

/** Which sides send more than one message. */
export interface MethodStreams {
  readonly client?: boolean;
  readonly server?: boolean;
}

/** Contracts for services that have registered none: every method takes and answers any JSON object. */
export class UntypedContracts {
  readonly #kept = new Map<string, ServiceContract>();

  /** A contract with this one method, unary by default; undefined if that cannot be its name. */
  contract(key: ServiceKey, methodName: string, streams: MethodStreams = {}): ServiceContract | undefined {
    if (!METHOD_NAME.test(methodName)) return undefined;
    const text = `${keyText(key)}/${methodName} ${streams.client === true} ${streams.server === true}`;
    let contract = this.#kept.get(text);
    if (contract === undefined) {
      contract = untypedContract(key, methodName, streams);
      // Strangers may ask for any name.
      if (this.#kept.size >= MOST_KEPT) this.#kept.clear();
      this.#kept.set(text, contract);
    }
    return contract;
  }
}

function untypedContract(key: ServiceKey, name: string, { client, server }: MethodStreams): ServiceContract {
  const { serviceId, version } = key;
  const methods = [
    create(registry.MethodSchemaSchema, { name, clientStreaming: client === true, serverStreaming: server === true }),
  ];
  const { files } = contractOfSchemas({ serviceId, version, methods });
  const own = [...files.files].filter(({ proto }) => proto.package === packageOf(key));
  return { digest: "", files, services: own.flatMap(({ services }) => services) };
}
