/** The address plan of the real node; all of it is inside the holder's network. */
export const addresses = {
  node: '10.99.0.1',
  nodeNetwork: '10.99.0.0/24',
  podNetwork: '10.244.0.0/24',
  podGateway: '10.244.0.1',
  serviceNetwork: '10.43.0.0/16',
} as const;

/** The real node's name, and its host name inside. */
export const nodeName = 'mesh-node';
