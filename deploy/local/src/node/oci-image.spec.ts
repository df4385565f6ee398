import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from '@jest/globals';
import { addLayer, packLayer, writeImage } from './oci-image.js';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'oci-image-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

const at = (...parts: string[]) => join(folder, ...parts);

async function layerOf(name: string, files: Record<string, string>): Promise<string> {
  mkdirSync(at(name), { recursive: true });
  for (const [file, content] of Object.entries(files)) writeFileSync(at(name, file), content);
  await packLayer(at(name), at(`${name}.tar`));
  return at(`${name}.tar`);
}

/** Reads an image as the specification says it is read. */
function read(file: string) {
  const layout = `${file}.read`;
  mkdirSync(layout, { recursive: true });
  execFileSync('tar', ['-xf', file, '-C', layout]);
  const json = (path: string) => JSON.parse(readFileSync(join(layout, path), 'utf8'));
  const blob = ({ digest, size }: { digest: string; size: number }) => {
    const content = readFileSync(join(layout, 'blobs/sha256', digest.slice('sha256:'.length)));
    expect(`sha256:${createHash('sha256').update(content).digest('hex')}`).toBe(digest);
    expect(content.length).toBe(size);
    return content;
  };
  const [descriptor] = json('index.json').manifests;
  const manifest = JSON.parse(blob(descriptor).toString());
  const config = JSON.parse(blob(manifest.config).toString());
  const layers = manifest.layers.map((one: { digest: string; size: number }) => {
    writeFileSync(at('one.tar'), blob(one));
    return execFileSync('tar', ['-tf', at('one.tar')], { encoding: 'utf8' })
      .split('\n')
      .filter((path) => !path.endsWith('/') && path);
  });
  return {
    name: descriptor.annotations['io.containerd.image.name'],
    manifest,
    config,
    layers,
    blobs: readdirSync(join(layout, 'blobs/sha256')),
  };
}

it('an image is what the specification calls one, and says what it runs', async () => {
  const layer = await layerOf('root', { a: '1' });
  await writeImage(at('image.tar'), 'registry.local/a:1', [layer], { Entrypoint: ['/a'], User: '10001' });
  const image = read(at('image.tar'));
  expect(image).toMatchObject({ name: 'registry.local/a:1', layers: [['./a']] });
  expect(image.config).toMatchObject({ os: 'linux', config: { Entrypoint: ['/a'], User: '10001', WorkingDir: '/' } });
  expect(image.config.rootfs.diff_ids).toEqual(image.manifest.layers.map(({ digest }: { digest: string }) => digest));
});

it('the same files make the same layer, whenever they were written', async () => {
  const first = readFileSync(await layerOf('one', { a: '1', b: '2' }));
  const second = await layerOf('two', { b: '2', a: '1' });
  utimesSync(at('two', 'a'), 1, 1);
  await packLayer(at('two'), second);
  expect(readFileSync(second).equals(first)).toBe(true);
});

it('a layer more changes nothing below it, and the name', async () => {
  await writeImage(at('base.tar'), 'registry.local/a:1', [await layerOf('root', { a: '1' })], { Entrypoint: ['/a'] });
  await addLayer(at('base.tar'), await layerOf('more', { b: '2' }), at('grown.tar'), 'registry.local/a:2');
  const [base, grown] = [read(at('base.tar')), read(at('grown.tar'))];
  expect(grown).toMatchObject({ name: 'registry.local/a:2', layers: [['./a'], ['./b']] });
  expect(grown.config.config).toEqual(base.config.config);
  expect(grown.config.rootfs.diff_ids).toHaveLength(2);
  expect(grown.manifest.layers[0]).toEqual(base.manifest.layers[0]);
});

it('of an image for several machines the one for this one is taken, and nothing else is carried along', async () => {
  await writeImage(at('base.tar'), 'registry.local/a:1', [await layerOf('root', { a: '1' })], { Entrypoint: ['/a'] });
  const layout = at('several');
  mkdirSync(layout);
  execFileSync('tar', ['-xf', at('base.tar'), '-C', layout]);
  const index = JSON.parse(readFileSync(join(layout, 'index.json'), 'utf8'));
  const [here] = index.manifests;
  const put = (content: string) => {
    const digest = createHash('sha256').update(content).digest('hex');
    writeFileSync(join(layout, 'blobs/sha256', digest), content);
    return { digest: `sha256:${digest}`, size: content.length };
  };
  const other = { mediaType: here.mediaType, ...put('{}'), platform: { os: 'linux', architecture: 'arm64' } };
  const list = {
    mediaType: 'application/vnd.oci.image.index.v1+json',
    ...put(JSON.stringify({ schemaVersion: 2, manifests: [other, here] })),
  };
  writeFileSync(join(layout, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests: [list] }));
  await packLayer(layout, at('several.tar'));

  await addLayer(at('several.tar'), await layerOf('more', { b: '2' }), at('grown.tar'), 'registry.local/a:2');
  const grown = read(at('grown.tar'));
  expect(grown.layers).toEqual([['./a'], ['./b']]);
  expect(grown.blobs).toHaveLength(4); // manifest, configuration, two layers
});
