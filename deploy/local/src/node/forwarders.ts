import { once } from 'node:events';
import { mkdirSync, rmSync } from 'node:fs';
import { connect, createServer, type NetConnectOpts, type Server, type Socket } from 'node:net';
import type { State } from '../state.js';

/**
 * Ports of the namespaces' loopback on the machine's own: each goes through a unix socket in the state folder, which both
 * sides can see. The number is the same on both sides, so that an address means the same everywhere.
 */
export class Forwarders {
  private readonly servers: Server[] = [];
  private readonly connections = new Set<Socket>();

  constructor(private readonly state: State) {}

  /** Called inside: whoever connects to the socket reaches `port`. */
  async offer(port: number): Promise<void> {
    const path = this.socket(port);
    mkdirSync(this.state.path('node', 'ports'), { recursive: true, mode: 0o700 });
    rmSync(path, { force: true });
    await this.listen({ path }, { host: '127.0.0.1', port });
  }

  /** Called outside: whoever connects to `port` reaches the socket. */
  async open(port: number): Promise<void> {
    await this.listen({ host: '127.0.0.1', port }, { path: this.socket(port) });
  }

  async close(): Promise<void> {
    const closed = this.servers.map((server) => once(server.close(), 'close'));
    for (const connection of this.connections) connection.destroy();
    await Promise.all(closed);
  }

  private async listen(at: { path: string } | { host: string; port: number }, target: NetConnectOpts): Promise<void> {
    const server = createServer({ allowHalfOpen: true }, (client) => {
      const there = connect({ ...target, allowHalfOpen: true });
      for (const [side, other] of [
        [client, there],
        [there, client],
      ] as const) {
        this.connections.add(side);
        side.once('close', () => this.connections.delete(side));
        side.on('error', () => other.destroy());
        side.pipe(other);
      }
    });
    await once(server.listen(at), 'listening');
    this.servers.push(server);
  }

  private socket(port: number): string {
    return this.state.path('node', 'ports', String(port));
  }
}
