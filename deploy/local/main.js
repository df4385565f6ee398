// Entry of `npm run up|stack|down|bench` and `npm test`. Must run on the Node of a bare machine (20 or newer) and with nothing
// installed: built-ins only, everything else behind the dynamic import at the end.
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';

const root = resolve(import.meta.dirname, '../..');
const at = (...parts) => join(root, ...parts);
const modified = (file) => (existsSync(file) ? statSync(file).mtimeMs : 0);

installPackages();
if (!(await runAgainUnderPinnedNode())) {
  build();
  await import('../../dist/deploy/local/src/cli.js');
}

/** `npm ci` when node_modules is missing or older than the lock file. */
function installPackages() {
  const installed = modified(at('node_modules/.package-lock.json'));
  if (installed > 0 && installed >= modified(at('package-lock.json'))) return;
  console.log('Installing npm packages (about a minute) …');
  const npm = spawnSync('npm', ['ci', '--no-audit', '--no-fund', '--loglevel=error'], { cwd: root, stdio: 'inherit' });
  if (npm.status !== 0) {
    console.error('npm ci failed; its message is above.');
    process.exit(1);
  }
}

/** The services run on the Node version that the lock file pins; it comes as a package. */
async function runAgainUnderPinnedNode() {
  const { optionalDependencies } = JSON.parse(readFileSync(at('package.json'), 'utf8'));
  const wanted = `v${Object.values(optionalDependencies)[0]}`;
  if (process.version === wanted) return false;
  const node = at('node_modules/.bin/node');
  if (!existsSync(node) || process.env.MESH_REEXEC) {
    if (Number(process.versions.node.split('.')[0]) >= 24) return false; // no package for this platform, but new enough
    console.error(
      `Node ${wanted} is needed; this is ${process.version}, and npm has no package of it for this platform.`,
    );
    process.exit(1);
  }
  const child = spawn(node, process.argv.slice(1), {
    stdio: 'inherit',
    env: { ...process.env, MESH_REEXEC: '1', PATH: `${at('node_modules/.bin')}:${process.env.PATH}` },
  });
  // The child decides when it has cleaned up; without this a signal would end us, and the shell's prompt come, before it.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal));
  process.exitCode = await new Promise((done) => {
    child.on('error', (error) => {
      console.error(`${node} cannot be run: ${error.message}`);
      done(1);
    });
    child.on('exit', (code, signal) => done(code ?? (signal === 'SIGINT' ? 130 : 1)));
  });
  return true;
}

/** Compiles when a source is newer than the last build. A type error stops only what runs our services. */
function build() {
  const stamp = at('dist/.built');
  const sources = ['apps', 'libs', 'deploy', 'test'].flatMap((folder) => sourcesBelow(at(folder)));
  const newest = Math.max(
    ...[...sources, at('tsconfig.json'), at('tsconfig.base.json'), at('package-lock.json')].map(modified),
  );
  if (modified(stamp) > newest && existsSync(at('dist/deploy/local/src/cli.js'))) return;

  const startedAt = new Date();
  const tsc = spawnSync(process.execPath, [at('node_modules/typescript7/bin/tsc'), '-p', at('tsconfig.json')], {
    cwd: root,
    encoding: 'utf8',
  });
  if (tsc.status === 0) {
    writeFileSync(stamp, '');
    utimesSync(stamp, startedAt, startedAt); // a source saved during the build is newer
    return;
  }
  const errors = `${tsc.stdout}${tsc.stderr}`.trimEnd();
  if (['up', 'bench'].includes(process.argv[2]) || !existsSync(at('dist/deploy/local/src/cli.js'))) {
    console.error(`${errors}\n\nThe code does not compile; the errors are above.`);
    process.exit(1);
  }
  const count = errors.split('\n').filter((line) => line.includes('error TS')).length;
  console.error(`Type errors: ${count} (see them with: npm run build); going on with what was compiled.\n`);
}

function sourcesBelow(folder) {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { recursive: true })
    .filter((name) => name.endsWith('.ts'))
    .map((name) => join(folder, name));
}
