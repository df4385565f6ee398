import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { type CacheEntry, cacheKey, ensureCached } from '../build-cache.js';
import type { LocalConfig } from '../config.js';
import { run } from '../run.js';
import type { State } from '../state.js';
import type { Progress } from '../terminal.js';
import type { ImageFile } from './container-runtime.js';
import { copyProgram, layOutRoot, podUser } from './image-root.js';
import { addLayer, packLayer, writeImage } from './oci-image.js';

/** What a files Job runs, as it was compiled last. */
const entry = 'dist/apps/backup/src/files-worker.js';
const home = '/opt/mesh';

/** Grows when this file makes something else of the same inputs. */
const revision = 1;

/** The Node that runs this, and the packages that the worker imports: what changes seldom. */
export function filesImageBase(local: LocalConfig): CacheEntry {
  const { packages } = importsOf(local.root);
  const described = packages.map((folder) => readFileSync(join(folder, 'package.json'), 'utf8'));
  return {
    name: 'files-worker',
    what: 'make the image of the Jobs that carry files of backups',
    inputs: [process.version, ...described, String(revision)],
    cost: { minutes: 0.1, megabytes: 145 },
    async make(folder, progress) {
      const root = join(folder, 'root');
      progress('Node and packages');
      layOutRoot(root);
      await copyProgram(root, process.execPath);
      for (const from of packages)
        cpSync(from, join(root, home, from.slice(local.root.length)), {
          recursive: true,
          dereference: true,
          filter: (path) => isUsed(path.slice(from.length)),
        });
      const layer = join(folder, 'layer.tar');
      await packLayer(root, layer);
      await writeImage(join(folder, 'image.tar'), 'registry.local/mesh-files:base', [layer], {
        Entrypoint: ['/usr/bin/node', '--enable-source-maps', '--max-old-space-size=320', join(home, entry)],
        Env: ['PATH=/usr/bin', 'NODE_ENV=production'],
        User: String(podUser),
      });
      await run('rm', ['-r', root, layer]);
    },
  };
}

/** Says which image the files Jobs of this state run; another program is another image. */
export async function provideFilesWorker(local: LocalConfig, state: State, progress: Progress): Promise<ImageFile> {
  const base = join(await ensureCached(local.cache, filesImageBase(local), progress), 'image.tar');
  const { files } = importsOf(local.root);
  const manifest = packageJson(local.root);
  const key = cacheKey([base, manifest, ...files.map((file) => readFileSync(file, 'utf8'))]);
  const image = { name: `registry.local/mesh-files:${key}`, file: state.path('node', 'images', `files-${key}.tar`) };
  mkdirSync(dirname(image.file), { recursive: true });
  if (!existsSync(image.file)) {
    const root = `${image.file}.root`;
    const layer = `${image.file}.layer`;
    try {
      for (const file of files) cpSync(file, join(root, home, file.slice(local.root.length)), { recursive: true });
      writeFileSync(join(root, home, 'package.json'), manifest);
      await packLayer(root, layer);
      await addLayer(base, layer, image.file, image.name);
    } finally {
      for (const left of [root, layer]) rmSync(left, { recursive: true, force: true });
    }
  }
  writeFileSync(stateFile(state), JSON.stringify(image));
  return image;
}

export function filesImageOf(state: State): ImageFile {
  return JSON.parse(readFileSync(stateFile(state), 'utf8'));
}

const stateFile = (state: State) => state.path('node', 'images', 'files.json');

/** What the program needs of ours: that it is of modules, and where `#…` leads. */
function packageJson(root: string): string {
  const { type, imports } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  return JSON.stringify({ type, imports });
}

/** Types, sources and second forms of packages are for those who compile. */
function isUsed(path: string): boolean {
  return !/\.(ts|mts|cts|map|md)$|^\/(dist-types|dist-es|docs|test|benchmarks|examples|node_modules)(\/|$)/.test(path);
}

/** Our compiled files that the worker is made of, and the folders of all packages that these need, both sorted. */
function importsOf(root: string): { readonly files: readonly string[]; readonly packages: readonly string[] } {
  const { imports } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
    imports: Record<string, { default: string }>;
  };
  const files = new Set<string>();
  const packages = new Set<string>();
  const ownFile = (specifier: string, from: string): string | undefined => {
    if (specifier.startsWith('.')) return join(dirname(from), specifier);
    for (const [pattern, { default: target }] of Object.entries(imports)) {
      const [before, after] = pattern.split('*') as [string, string];
      if (specifier.startsWith(before) && specifier.endsWith(after))
        return join(root, target.replace('*', specifier.slice(before.length, -after.length)));
    }
    return undefined;
  };
  const addPackage = (name: string, from: string) => {
    const folder = folderOf(name, from);
    if (!folder || packages.has(folder)) return;
    packages.add(folder);
    const { dependencies = {} } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
    for (const one of Object.keys(dependencies)) addPackage(one, folder);
  };
  const addFile = (file: string) => {
    if (files.has(file)) return;
    files.add(file);
    for (const [, specifier] of readFileSync(file, 'utf8').matchAll(importOf)) {
      const own = ownFile(specifier!, file);
      if (own) addFile(own);
      else if (!specifier!.startsWith('node:')) addPackage(/^(@[^/]+\/)?[^/]+/.exec(specifier!)![0], root);
    }
  };
  addFile(join(root, entry));
  return { files: [...files].sort(), packages: [...packages].sort() };
}

/** As the compiler writes it. */
const importOf = /^(?:import|export)\s(?:[^'"=;]*\sfrom\s)?'([^']+)';$/gm;

/** Where Node would find it from there. */
function folderOf(name: string, from: string): string | undefined {
  const folder = join(from, 'node_modules', name);
  if (existsSync(join(folder, 'package.json'))) return folder;
  return from === dirname(from) ? undefined : folderOf(name, dirname(from));
}
