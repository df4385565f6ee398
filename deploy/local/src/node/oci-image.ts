import { createHash } from 'node:crypto';
import {
  copyFileSync,
  createReadStream,
  existsSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { run } from '../run.js';

/** What a container of an image runs and with what; the names are those of the OCI image configuration. */
export interface ImageConfig {
  readonly Entrypoint: readonly string[];
  readonly Env?: readonly string[];
  readonly User?: string;
  readonly WorkingDir?: string;
}

interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
  readonly platform?: { readonly os: string; readonly architecture: string };
}

interface Manifest {
  readonly schemaVersion: 2;
  readonly mediaType: string;
  readonly config: Descriptor;
  readonly layers: readonly Descriptor[];
}

const oci = (kind: string) => `application/vnd.oci.image.${kind}`;
const tools = { env: { PATH: '/usr/bin:/bin' } };

/** Makes a layer of a folder: the same content makes the same file, whoever made it and when. */
export async function packLayer(folder: string, file: string): Promise<void> {
  const same = ['--sort=name', '--mtime=@0', '--owner=0', '--group=0', '--numeric-owner', '--format=gnu'];
  await run('tar', [...same, '--directory', folder, '--create', '--file', file, '.'], tools);
}

/**
 * Writes an image as a tar in OCI layout (OCI image specification 1.1: image-layout, manifest, config), without any
 * container tool. `layers` are files of `packLayer`, the lowest first.
 */
export async function writeImage(
  file: string,
  name: string,
  layers: readonly string[],
  config: ImageConfig,
): Promise<void> {
  await withLayout(file, async (layout) => {
    const packed = [];
    for (const layer of layers) packed.push(await addBlob(layout, layer));
    const configuration = {
      architecture: 'amd64',
      os: 'linux',
      config: { WorkingDir: '/', ...config },
      rootfs: { type: 'layers', diff_ids: packed.map(({ digest }) => digest) },
    };
    const manifest: Manifest = {
      schemaVersion: 2,
      mediaType: oci('manifest.v1+json'),
      config: { mediaType: oci('config.v1+json'), ...writeBlob(layout, configuration) },
      layers: packed.map((blob) => ({ mediaType: oci('layer.v1.tar'), ...blob })),
    };
    writeIndex(layout, name, manifest);
  });
}

/** The image in `from`, a tar in OCI layout, with one layer more and another name. */
export async function addLayer(from: string, layer: string, file: string, name: string): Promise<void> {
  await withLayout(file, async (layout) => {
    await run('tar', ['--extract', '--file', from, '--directory', layout], tools);
    const top = JSON.parse(readFileSync(join(layout, 'index.json'), 'utf8')) as { manifests: Descriptor[] };
    const base = manifestIn(layout, top.manifests);
    const { digest, size } = await addBlob(layout, layer);
    const configuration = readBlob<{ rootfs: { diff_ids: string[] } }>(layout, base.config);
    const grown = {
      ...configuration,
      rootfs: { ...configuration.rootfs, diff_ids: [...configuration.rootfs.diff_ids, digest] },
      history: undefined,
    };
    const docker = base.mediaType.includes('docker');
    const mediaType = docker ? 'application/vnd.docker.image.rootfs.diff.tar' : oci('layer.v1.tar');
    const manifest: Manifest = {
      ...base,
      config: { mediaType: base.config.mediaType, ...writeBlob(layout, grown) },
      layers: [...base.layers, { mediaType, digest, size }],
    };
    writeIndex(layout, name, manifest);
    rmSync(join(layout, 'manifest.json'), { force: true }); // of the older layout, which names the image as it was
  });
}

/** The one for this machine, of an image that is for several. */
function manifestIn(layout: string, descriptors: readonly Descriptor[]): Manifest {
  const here = descriptors.find(({ platform }) => platform?.os === 'linux' && platform.architecture === 'amd64');
  const chosen = here ?? descriptors[0];
  if (!chosen || !existsSync(blobFile(layout, chosen.digest))) throw new Error('the image is not for linux on amd64');
  const found = readBlob<Manifest | { manifests: Descriptor[] }>(layout, chosen);
  return 'manifests' in found ? manifestIn(layout, found.manifests) : found;
}

/** `file` appears when it is complete. */
async function withLayout(file: string, fill: (layout: string) => Promise<void>): Promise<void> {
  const unfinished = `${file}.unfinished`;
  const layout = `${file}.layout`;
  rmSync(layout, { recursive: true, force: true });
  mkdirSync(join(layout, 'blobs/sha256'), { recursive: true });
  mkdirSync(dirname(file), { recursive: true });
  try {
    await fill(layout);
    await packLayer(layout, unfinished);
    await run('mv', [unfinished, file], tools);
  } finally {
    rmSync(layout, { recursive: true, force: true });
    rmSync(unfinished, { force: true });
  }
}

function writeIndex(layout: string, name: string, manifest: Manifest): void {
  const index = {
    schemaVersion: 2,
    manifests: [
      {
        mediaType: manifest.mediaType,
        ...writeBlob(layout, manifest),
        platform: { architecture: 'amd64', os: 'linux' },
        annotations: { 'io.containerd.image.name': name, 'org.opencontainers.image.ref.name': name.split(':').at(-1) },
      },
    ],
  };
  writeFileSync(join(layout, 'oci-layout'), JSON.stringify({ imageLayoutVersion: '1.0.0' }));
  writeFileSync(join(layout, 'index.json'), JSON.stringify(index));
  dropUnused(layout, manifest);
}

/** Of an image for several machines, or of its former configuration. */
function dropUnused(layout: string, manifest: Manifest): void {
  const own = createHash('sha256').update(JSON.stringify(manifest)).digest('hex');
  const used = new Set([
    own,
    ...[manifest.config, ...manifest.layers].map(({ digest }) => digest.slice('sha256:'.length)),
  ]);
  for (const blob of readdirSync(join(layout, 'blobs/sha256')))
    if (!used.has(blob)) rmSync(join(layout, 'blobs/sha256', blob));
}

function blobFile(layout: string, digest: string): string {
  return join(layout, 'blobs', digest.replace(':', '/'));
}

function readBlob<T>(layout: string, { digest }: Descriptor): T {
  return JSON.parse(readFileSync(blobFile(layout, digest), 'utf8'));
}

function writeBlob(layout: string, content: object): { digest: string; size: number } {
  const text = JSON.stringify(content);
  const digest = `sha256:${createHash('sha256').update(text).digest('hex')}`;
  writeFileSync(blobFile(layout, digest), text);
  return { digest, size: Buffer.byteLength(text) };
}

async function addBlob(layout: string, file: string): Promise<{ digest: string; size: number }> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(file), hash);
  const digest = `sha256:${hash.digest('hex')}`;
  const blob = blobFile(layout, digest);
  rmSync(blob, { force: true });
  try {
    linkSync(file, blob);
  } catch {
    copyFileSync(file, blob); // on another file system
  }
  return { digest, size: statSync(file).size };
}
