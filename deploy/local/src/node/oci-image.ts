import { createHash } from 'node:crypto';
import { copyFileSync, createReadStream, mkdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
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

/** Makes a layer of a folder: the same content makes the same file, whoever made it and when. */
export async function packLayer(folder: string, file: string): Promise<void> {
  const same = ['--sort=name', '--mtime=@0', '--owner=0', '--group=0', '--numeric-owner', '--format=gnu'];
  await run('tar', [...same, '--directory', folder, '--create', '--file', file, '.'], {
    env: { PATH: '/usr/bin:/bin' },
  });
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
  const unfinished = `${file}.unfinished`;
  const folder = `${file}.layout`;
  rmSync(folder, { recursive: true, force: true });
  const blobs = join(folder, 'blobs/sha256');
  mkdirSync(blobs, { recursive: true });
  mkdirSync(dirname(file), { recursive: true });
  try {
    const packed = [];
    for (const layer of layers) {
      const digest = await hashOf(layer);
      copyFileSync(layer, join(blobs, digest));
      packed.push({ digest, size: statSync(layer).size });
    }
    const blob = (content: object) => {
      const text = JSON.stringify(content);
      const digest = createHash('sha256').update(text).digest('hex');
      writeFileSync(join(blobs, digest), text);
      return { digest: `sha256:${digest}`, size: text.length };
    };
    const configuration = blob({
      architecture: 'amd64',
      os: 'linux',
      config: { WorkingDir: '/', ...config },
      rootfs: { type: 'layers', diff_ids: packed.map(({ digest }) => `sha256:${digest}`) },
    });
    const oci = (kind: string) => `application/vnd.oci.image.${kind}`;
    const manifest = blob({
      schemaVersion: 2,
      mediaType: oci('manifest.v1+json'),
      config: { mediaType: oci('config.v1+json'), ...configuration },
      layers: packed.map(({ digest, size }) => ({ mediaType: oci('layer.v1.tar'), digest: `sha256:${digest}`, size })),
    });
    const index = {
      schemaVersion: 2,
      manifests: [
        {
          mediaType: oci('manifest.v1+json'),
          ...manifest,
          platform: { architecture: 'amd64', os: 'linux' },
          annotations: {
            'io.containerd.image.name': name,
            'org.opencontainers.image.ref.name': name.split(':').at(-1),
          },
        },
      ],
    };
    writeFileSync(join(folder, 'oci-layout'), JSON.stringify({ imageLayoutVersion: '1.0.0' }));
    writeFileSync(join(folder, 'index.json'), JSON.stringify(index));
    await packLayer(folder, unfinished);
    await run('mv', [unfinished, file]);
  } finally {
    rmSync(folder, { recursive: true, force: true });
    rmSync(unfinished, { force: true });
  }
}

async function hashOf(file: string): Promise<string> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(file), hash);
  return hash.digest('hex');
}
