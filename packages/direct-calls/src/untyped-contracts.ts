import { create } from "@bufbuild/protobuf";
import { registry } from "@hms/contracts";
import { contractOfSchemas } from "@hms/descriptors";
import { keyText, packageOf, type ServiceContract, type ServiceKey } from "@hms/directory";

const METHOD_NAME = /^[A-Z][A-Za-z0-9]{0,99}$/;
const MOST_KEPT = 1_000;

/** Contracts for services that have registered none: every method takes and answers any JSON object. */
export class UntypedContracts {
  readonly #kept = new Map<string, ServiceContract>();

  /** A contract with this one method; undefined if that cannot be its name. */
  contract(key: ServiceKey, methodName: string): ServiceContract | undefined {
    if (!METHOD_NAME.test(methodName)) return undefined;
    const text = `${keyText(key)}/${methodName}`;
    let contract = this.#kept.get(text);
    if (contract === undefined) {
      contract = untypedContract(key, methodName);
      // Strangers may ask for any name.
      if (this.#kept.size >= MOST_KEPT) this.#kept.clear();
      this.#kept.set(text, contract);
    }
    return contract;
  }
}

function untypedContract(key: ServiceKey, name: string): ServiceContract {
  const { serviceId, version } = key;
  const methods = [create(registry.MethodSchemaSchema, { name })];
  const { files } = contractOfSchemas({ serviceId, version, methods });
  const own = [...files.files].filter(({ proto }) => proto.package === packageOf(key));
  return { digest: "", files, services: own.flatMap(({ services }) => services) };
}
