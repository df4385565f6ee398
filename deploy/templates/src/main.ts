import { spawn } from 'node:child_process';
import { lookup } from 'node:dns/promises';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { parseArgs } from 'node:util';
import { Shard } from '#tenant-databases/index.js';
import { readConfig } from './config.js';
import { makeTemplate } from './make-template.js';

const help = `npm run template -- --image NAME --build COMMAND [--odoo 18.0] [--bundle apps] [--language en_US]

Makes a template on a database shard: Odoo installs the bundle's modules into an empty database, is visited once so that its
pages are made, and the database is frozen. Made again only when image, modules or language have changed; killed anywhere
it can be run again. Instances are made of it as soon as it is there.

  --image NAME      the Odoo image that the cluster pulls for the installation
  --build COMMAND   run by sh with the database's name as $1 and a folder with its files as $2: makes an image of the same
                    Odoo with these files as /opt/template/$1, readable by all, pushes it, and says its name on the last line
  --odoo VERSION    as customers ask for it; default 18.0
  --bundle NAME     which modules; default apps
  --language CODE   default en_US
  --help            this text

From the environment: MESH_NAME (mesh), MESH_KUBECONFIG (an administrator's), MESH_SHARD_URL (the mesh's role on the shard),
MESH_STORAGE_CLASS, MESH_CLUSTER_NETWORKS. The shard has to be prepared.`;

async function main(args: readonly string[]): Promise<number> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      image: { type: 'string' },
      build: { type: 'string' },
      odoo: { type: 'string', default: '18.0' },
      bundle: { type: 'string', default: 'apps' },
      language: { type: 'string', default: 'en_US' },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) return say(help, 0);
  const { image, build, odoo: version, bundle, language } = values;
  if (!image || !build) return say('--image and --build are needed; --help says what they are', 2);

  const config = readConfig();
  const shard = new Shard('the shard', config.MESH_SHARD_URL, config.MESH_NAME);
  const folder = mkdtempSync(join(tmpdir(), 'odoo-mesh-template-'));
  const begun = performance.now();
  try {
    const { host, port } = shard.address;
    const database = await makeTemplate({
      ...{ meshName: config.MESH_NAME, kubeconfig: config.MESH_KUBECONFIG, shard, folder },
      storageClass: config.MESH_STORAGE_CLASS,
      clusterNetworks: config.MESH_CLUSTER_NETWORKS,
      databases: [{ cidr: `${(await lookup(host, { family: 4 })).address}/32`, port }],
      ...{ image, version, bundle, language },
      withFiles: (name, files) => imageBy(build, name, files),
      told: (step, ms) => say(`✓ ${step.padEnd(18)} ${(ms / 1_000).toFixed(1).padStart(7)} s`, 0),
    });
    return say(`${database} stands after ${((performance.now() - begun) / 1_000).toFixed(1)} s`, 0);
  } finally {
    await shard.close();
    rmSync(folder, { recursive: true, force: true });
  }
}

/** The operator's own way to an image. */
async function imageBy(command: string, database: string, files: string): Promise<string> {
  const child = spawn('sh', ['-ec', command, 'build', database, files], { stdio: ['ignore', 'pipe', 'inherit'] });
  const ended = new Promise<number | null>((resolve) => {
    child.once('close', resolve);
  });
  const name = (await text(child.stdout)).trimEnd().split('\n').at(-1)?.trim();
  const code = await ended;
  if (code !== 0 || !name)
    throw new Error(`--build ended with ${code} and said ${name ? name : 'no name of an image'}`);
  return name;
}

function say(what: string, code: number): number {
  console.log(what);
  return code;
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
}
