import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { throwIfInterrupted } from './interruption.js';
import { type InstalledMesh, type Program, programs } from './mesh-install.js';
import type { Processes } from './processes.js';

const readyWithinMs = 60_000;

/** What a mesh's processes listen on: each service's own port, and the one of the edge's pages. */
export const portNames = [...programs, 'pages'] as const;
export type Ports = Readonly<Record<(typeof portNames)[number], number>>;

/** The name under which a service of a mesh is kept among the processes of a state folder. */
export function processNameOf(meshName: string, service: Program): string {
  return `${meshName}-${service}`;
}

/** The services of one mesh as processes of this machine, each on a loopback port of its own. */
export class MeshServices {
  constructor(
    private readonly mesh: InstalledMesh,
    private readonly processes: Processes,
    private readonly root: string,
    readonly ports: Ports,
    /** Whether traces name lines of the sources; reading the maps takes about a quarter of what a service's modules need to load. */
    private readonly sourceMaps = true,
  ) {}

  processName(service: Program): string {
    return processNameOf(this.mesh.plan.name, service);
  }

  /** The same services once more, as a second replica beside the first. */
  replica(ports: Ports): MeshServices {
    return new Replica(this.mesh, this.processes, this.root, ports, this.sourceMaps);
  }

  /** Resolves when it answers that it is ready; throws with the last lines of its log when it does not. */
  async start(service: Program): Promise<void> {
    await this.processes.start({
      name: this.processName(service),
      command: process.execPath,
      // The passwords stand in the file: not in the arguments, and not in the record of the process.
      args: [
        `--env-file=${this.mesh.environmentFile(service)}`,
        ...(this.sourceMaps ? ['--enable-source-maps'] : []),
        join(this.root, 'dist/apps', service, 'src/main.js'),
      ],
      env: {
        MESH_HTTP_PORT: String(this.ports[service]),
        ...(service === 'edge' && { MESH_PAGES_PORT: String(this.ports.pages) }),
        // What V8 has compiled once: modules load in about four fifths of the time.
        NODE_COMPILE_CACHE: join(this.root, 'dist/compile-cache'),
        PATH: '/usr/bin:/bin',
      },
      cwd: this.root,
    });
    await this.ready(service);
  }

  async startAll(services: readonly Program[] = programs): Promise<void> {
    await Promise.all(services.map((service) => this.start(service)));
  }

  /** Resolves when it has drained and is gone. */
  async stop(service: Program): Promise<void> {
    await this.processes.stop(this.processName(service), 30_000);
  }

  async stopAll(): Promise<void> {
    await Promise.all(programs.map((service) => this.stop(service)));
  }

  /** As a crash would end it. The signal is out when this returns; the promise resolves when the process is gone. */
  kill(service: Program): Promise<void> {
    return this.processes.kill(this.processName(service));
  }

  /** Undefined when it does not run. */
  pid(service: Program): number | undefined {
    return this.processes.pid(this.processName(service));
  }

  alive(service: Program): boolean {
    return this.processes.alive(this.processName(service));
  }

  logFile(service: Program): string {
    return this.processes.logFile(this.processName(service));
  }

  /** Its last lines with the file's name, for the message of a failure. */
  logOf(service: Program): string {
    const lines = this.processes.lastLines(this.processName(service));
    return `Last lines of ${this.logFile(service)}:\n${lines}`;
  }

  url(service: Program): string {
    return `http://127.0.0.1:${this.ports[service]}`;
  }

  private async ready(service: Program): Promise<void> {
    const until = Date.now() + readyWithinMs;
    let seen = 'no answer';
    while (Date.now() < until) {
      throwIfInterrupted();
      if (!this.alive(service)) {
        seen = 'it ended';
        break;
      }
      try {
        const response = await fetch(`${this.url(service)}/readyz`, { signal: AbortSignal.timeout(2_000) });
        if (response.ok) return;
        seen = await response.text();
      } catch {
        // Not listening yet.
      }
      await pause(50);
    }
    throw new Error(`${service} is not ready: ${seen}\n${this.logOf(service)}`);
  }
}

class Replica extends MeshServices {
  override processName(service: Program): string {
    return `${super.processName(service)}-2`;
  }
}
