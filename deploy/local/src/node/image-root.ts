import { chmodSync, copyFileSync, existsSync, mkdirSync, realpathSync, symlinkSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { run } from '../run.js';

/** The user of the pods; Odoo does not start without a line in passwd for it. */
export const podUser = 10001;

/** What every root folder of an image has. */
export function layOutRoot(root: string): void {
  for (const path of ['etc', 'tmp', 'var/lib/odoo', 'proc', 'sys', 'dev'])
    mkdirSync(join(root, path), { recursive: true });
  chmodSync(join(root, 'tmp'), 0o1777);
  writeFileSync(
    join(root, 'etc/passwd'),
    `root:x:0:0:root:/:/bin/sh\nodoo:x:${podUser}:${podUser}:Odoo:/var/lib/odoo:/bin/sh\n`,
  );
  writeFileSync(join(root, 'etc/group'), `root:x:0:\nodoo:x:${podUser}:\n`);
  writeFileSync(join(root, 'etc/nsswitch.conf'), 'passwd: files\ngroup: files\nhosts: files dns\n');
}

/** With the shared libraries it needs; `/bin` is `/usr/bin`. */
export async function copyProgram(root: string, program: string): Promise<void> {
  const real = realpathSync(program);
  const to = join(root, 'usr/bin', basename(real));
  mkdirSync(dirname(to), { recursive: true });
  copyFileSync(real, to);
  if (basename(real) !== basename(program)) symlinkSync(basename(real), join(root, 'usr/bin', basename(program)));
  if (!existsSync(join(root, 'bin'))) symlinkSync('usr/bin', join(root, 'bin'));
  await copyLibraries(root, [real]);
}

/** The shared libraries that ldd(1) names for these files, where it finds them. */
export async function copyLibraries(root: string, files: readonly string[]): Promise<void> {
  for (const file of files.filter((one) => /\.so(\.|$)|\/bin\//.test(one))) {
    const named = (await run('ldd', [file]).catch(() => '')).matchAll(/(\/\S+) \(0x/g);
    for (const [, library] of named) {
      if (library!.startsWith(root)) continue;
      const to = join(root, library!);
      if (existsSync(to)) continue;
      mkdirSync(dirname(to), { recursive: true });
      copyFileSync(realpathSync(library!), to);
    }
  }
}
