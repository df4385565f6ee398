import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Client } from 'pg';
import { KubernetesClient } from '#kubernetes/index.js';
import type { StackEnv } from '#local/env-file.js';

const libraries = [
  '@kubernetes/client-node',
  '@nestjs/core',
  '@nestjs/microservices',
  'amqplib',
  'pg',
  'typeorm',
  'undici',
  'zod',
] as const;

/** What ran: a ratio is only as good as the two things it was taken of. */
export async function versionsOf(stack: StackEnv, root: string): Promise<Record<string, string>> {
  const { dependencies } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  const [rabbitmq, postgresql, kubernetes] = await Promise.all([
    versionOfBroker(stack.MESH_RABBITMQ_MANAGEMENT_URL),
    versionOfDatabase(stack.MESH_POSTGRES_URL),
    versionOfCluster(stack.MESH_KUBECONFIG),
  ]);
  return {
    node: process.versions.node,
    rabbitmq,
    postgresql,
    kubernetes,
    ...Object.fromEntries(libraries.map((name) => [name, dependencies[name]])),
  };
}

async function versionOfBroker(managementUrl: string): Promise<string> {
  const { username, password, origin } = new URL(managementUrl);
  const response = await fetch(`${origin}/api/overview`, {
    headers: { authorization: `Basic ${btoa(`${username}:${password}`)}` },
  });
  return ((await response.json()) as { rabbitmq_version: string }).rabbitmq_version;
}

async function versionOfDatabase(url: string): Promise<string> {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    return (await client.query(`SELECT split_part(current_setting('server_version'), ' ', 1) AS version`)).rows[0]
      .version;
  } finally {
    await client.end();
  }
}

async function versionOfCluster(kubeconfig: string): Promise<string> {
  const client = new KubernetesClient({ kubeconfig });
  try {
    const { text } = await client.server.send({
      verb: 'get',
      kind: 'version',
      object: 'version',
      method: 'GET',
      path: '/version',
    });
    return JSON.parse(text).gitVersion.replace(/^v/, '');
  } finally {
    await client.close();
  }
}
