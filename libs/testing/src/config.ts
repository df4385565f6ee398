import type { ObjectStorage } from '#object-storage/index.js';

/** Where the stack's servers are. Tests of the mesh and e2e lanes get them from the stack's environment file. */
export interface StackAddresses {
  readonly rabbitmqUrl: string;
  readonly rabbitmqManagementUrl: string;
  /** The administrator's. */
  readonly postgresUrl: string;
  readonly kubeconfig: string;
  /** A server that speaks S3, and its administrator's keys. */
  readonly s3: ObjectStorage;
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
    get s3() {
      return {
        endpoint: address('MESH_S3_ENDPOINT'),
        region: address('MESH_S3_REGION'),
        accessKey: address('MESH_S3_ROOT_ACCESS_KEY'),
        secretKey: address('MESH_S3_ROOT_SECRET_KEY'),
      };
    },
    get python() {
      return address('MESH_PYTHON');
    },
  };
}
