// Adds to package-lock.json what `npm ci` insists on but some registries do not serve: the optional platform
// packages (darwin, win32, musl ...) of a dependency. A stub has no integrity hash, which is harmless where its
// os/cpu does not match the machine. Run it (`npm run lock`) after every `npm install` that changed the lock.
// `--check` changes nothing and exits 1 when a stub is missing.
import { readFileSync, writeFileSync } from 'node:fs';

const file = new URL('../package-lock.json', import.meta.url);
const lock = JSON.parse(readFileSync(file, 'utf8'));
const systems = {
  darwin: 'darwin',
  win32: 'win32',
  linux: 'linux',
  android: 'android',
  freebsd: 'freebsd',
  openbsd: 'openbsd',
  netbsd: 'netbsd',
  sunos: 'sunos',
  aix: 'aix',
  openharmony: 'openharmony',
};
const processors = [
  'x64',
  'arm64',
  'ia32',
  'arm',
  'ppc64',
  's390x',
  'riscv64',
  'loong64',
  'mips64el',
  'wasm32',
  'armhf',
];

const missing = [];
for (const entry of Object.values(lock.packages)) {
  for (const [name, version] of Object.entries(entry.optionalDependencies ?? {})) {
    const path = `node_modules/${name}`;
    if (lock.packages[path]) continue;
    const words = name.split(/[-/.]/);
    const os = words.map((word) => systems[word]).find(Boolean);
    const cpu = words.find((word) => processors.includes(word));
    missing.push([
      path,
      { version: version.replace(/^[~^]/, ''), optional: true, ...(os && { os: [os] }), ...(cpu && { cpu: [cpu] }) },
    ]);
  }
}

if (process.argv.includes('--check')) {
  if (missing.length > 0) {
    console.error(`package-lock.json lacks ${missing.length} optional packages; run: npm run lock`);
    process.exit(1);
  }
} else if (missing.length > 0) {
  const root = lock.packages[''];
  const rest = Object.entries(lock.packages).filter(([path]) => path !== '');
  lock.packages = { '': root, ...Object.fromEntries([...rest, ...missing].sort(([a], [b]) => (a < b ? -1 : 1))) };
  writeFileSync(file, `${JSON.stringify(lock, null, 2)}\n`);
  console.log(
    `${missing.length} stubs added: ${missing.map(([path]) => path.slice('node_modules/'.length)).join(', ')}`,
  );
}
