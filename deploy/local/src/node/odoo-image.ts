import { copyFileSync, cpSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { type CacheEntry, ensureCached } from '../build-cache.js';
import type { LocalConfig } from '../config.js';
import { run } from '../run.js';
import type { State } from '../state.js';
import type { Progress } from '../terminal.js';
import { copyLibraries, copyProgram, layOutRoot, podUser } from './image-root.js';
import { addLayer, type ImageConfig, packLayer, writeImage } from './oci-image.js';

const standIn = 'registry.local/odoo-stand-in:18.0';
const places = { sources: '/opt/local', packages: '/opt/python', templates: '/opt/template' };

const config: ImageConfig = {
  Entrypoint: ['/usr/bin/python3', '-m', 'odoo_stand_in'],
  Env: [
    'PATH=/usr/bin:/bin',
    'LANG=C.UTF-8',
    `PYTHONPATH=${places.sources}/odoo-stand-in:${places.packages}`,
    'ODOO_RC=/etc/odoo/odoo.conf',
  ],
  User: String(podUser),
};

/** Grows when this file makes something else of the same inputs. */
const revision = 2;

/** What the init container and exec probes need beside Python. */
const tools = ['sh', 'cp', 'mv', 'ln', 'rm', 'mkdir', 'cat', 'dd'];

/** The stand-in of Odoo as an image: this machine's Python, and the program. */
export function standInImage(local: LocalConfig): CacheEntry {
  const sources = join(local.root, 'deploy/local');
  const requirements = join(sources, 'odoo-stand-in/requirements.txt');
  const program = filesBelow(join(sources, 'odoo-stand-in/odoo_stand_in')).filter((file) => file.endsWith('.py'));
  const inputs = [...program, requirements, ...filesBelow(join(sources, 'template'))];
  return {
    name: 'odoo-stand-in',
    what: 'make the image of the stand-in for Odoo',
    inputs: [...inputs.map((file) => readFileSync(file, 'utf8')), String(revision)],
    cost: { minutes: 0.3, megabytes: 60 },
    async make(folder, progress) {
      const root = join(folder, 'root');
      progress('Python');
      await copyPython(root);
      for (const tool of tools) await copyProgram(root, `/bin/${tool}`);
      progress('packages');
      await installPackages(local, folder, requirements, join(root, places.packages));
      await copyLibraries(root, filesBelow(join(root, places.packages)));
      layOutRoot(root);
      for (const path of ['etc/odoo', places.templates]) mkdirSync(join(root, path), { recursive: true });

      const home = join(root, places.sources);
      cpSync(join(sources, 'template'), join(home, 'template'), { recursive: true });
      for (const file of program) {
        const to = join(home, file.slice(sources.length));
        mkdirSync(dirname(to), { recursive: true });
        copyFileSync(file, to);
      }
      // Layers have no times that could prove a .pyc fresh, and the root of a pod is read-only.
      const compile = ['-m', 'compileall', '-q', '-f', '--invalidation-mode', 'unchecked-hash', '-s', root];
      await run(python, [...compile, home, join(root, places.packages), join(root, 'usr/lib')], {
        env: local.environment,
      });
      progress('layer');
      const layer = join(folder, 'layer.tar');
      await packLayer(root, layer);
      await writeImage(join(folder, 'image.tar'), standIn, [layer], config);
      await run('rm', ['-r', root, layer]);
    },
  };
}

/** The image that instances are made of: the operator's own, or the stand-in. */
export interface OdooImage {
  readonly name: string;
  /** A tar in OCI layout. */
  readonly file: string;
}

/** Where the base image of this state stands. */
const baseOf = (state: State) => state.path('node', 'images', 'odoo.json');

/** Says which image the templates of this state are made of. */
export async function provideOdoo(local: LocalConfig, state: State, progress: Progress): Promise<OdooImage> {
  const image = local.odooImage ?? {
    name: standIn,
    file: join(await ensureCached(local.cache, standInImage(local), progress), 'image.tar'),
  };
  mkdirSync(dirname(baseOf(state)), { recursive: true });
  writeFileSync(baseOf(state), JSON.stringify(image));
  return image;
}

export function odooImageOf(state: State): OdooImage {
  return JSON.parse(readFileSync(baseOf(state), 'utf8'));
}

/**
 * An image of Odoo with the files of templates, which its pods copy at their first start.
 * @param templates name of a template's database → the folder with its files, or nothing: no files yet.
 */
export async function writeTemplateImage(
  base: OdooImage,
  file: string,
  name: string,
  templates: Readonly<Record<string, string | undefined>>,
): Promise<void> {
  const folder = `${file}.templates`;
  const layer = `${file}.layer`;
  for (const [database, files] of Object.entries(templates)) {
    const to = join(folder, places.templates, database);
    mkdirSync(to, { recursive: true });
    if (files) cpSync(files, to, { recursive: true });
  }
  try {
    // Whoever runs in the pod reads them; they were an Odoo's own files, for itself alone.
    await run('chmod', ['-R', 'a+rX', folder]);
    await packLayer(folder, layer);
    await addLayer(base.file, layer, file, name);
  } finally {
    await run('rm', ['-rf', folder, layer]);
  }
}

const python = '/usr/bin/python3';

/** With the pip of whatever Python is first in the path, for the Python that is copied. */
async function installPackages(
  local: LocalConfig,
  folder: string,
  requirements: string,
  target: string,
): Promise<void> {
  const environment = join(folder, 'pip');
  const options = { env: local.environment };
  await run('python3', ['-m', 'venv', environment], options);
  const version = (await run(python, ['-c', 'import sys; print("%d.%d" % sys.version_info[:2])'])).trim();
  const from = ['--python-version', version, '--only-binary=:all:', '--require-hashes', '-r', requirements];
  const pip = ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', '--no-compile', '--target', target];
  await run(join(environment, 'bin/python'), [...pip, ...from], options);
  await run('rm', ['-r', environment]);
}

/** The interpreter and the standard library of the distribution, without what no server needs. */
async function copyPython(root: string): Promise<void> {
  const library = (await run(python, ['-c', 'import sysconfig; print(sysconfig.get_path("stdlib"))'])).trim();
  const leftOut =
    /\/(test|idlelib|tkinter|turtledemo|lib2to3|ensurepip|pydoc_data|__pycache__|dist-packages|site-packages|config-[^/]*)(\/|$)/;
  cpSync(library, join(root, library), {
    recursive: true,
    filter: (from) => !leftOut.test(from.slice(library.length)),
  });
  await copyProgram(root, python);
  await copyLibraries(root, filesBelow(join(root, library)));
}

function filesBelow(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();
}
