/** Where the stack's servers are. Tests of the mesh and e2e lanes get them from the stack's environment file. */
export interface StackAddresses {
  readonly rabbitmqUrl: string;
  readonly rabbitmqManagementUrl: string;
  /** The administrator's. */
  readonly postgresUrl: string;
  readonly kubeconfig: string;
  /** An interpreter with the pinned packages of the tests. */
  readonly python: string;
}

/**
 * The only place of libs/testing that reads the environment. An address that is missing is an error when it is asked
 * for, so that a test needs no more of the stack than it uses.
 */
export function stackAddresses(environment: NodeJS.ProcessEnv = process.env): StackAddresses {
  const address = (name: string): string => {
    const value = environment[name];
    if (!value)
      throw new Error(
        `this test needs the local stack and ${name} is not set: run it with npm test, or load the file that npm run stack prints`,
      );
    return value;
  };
  return {
    get rabbitmqUrl() {
      return address('MESH_RABBITMQ_URL');
    },
    get rabbitmqManagementUrl() {
      return address('MESH_RABBITMQ_MANAGEMENT_URL');
    },
    get postgresUrl() {
      return address('MESH_POSTGRES_URL');
    },
    get kubeconfig() {
      return address('MESH_KUBECONFIG');
    },
    get python() {
      return address('MESH_PYTHON');
    },
  };
}
