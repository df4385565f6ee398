import { once } from 'node:events';
import { type AddressInfo, createServer, connect as dial, type Server, type Socket } from 'node:net';
import { setTimeout as after } from 'node:timers/promises';

type Direction = 'up' | 'down';

export interface Faults {
  /** Added to every chunk, in each direction. */
  latencyMs: number;
  /** Of each direction of each connection. */
  bytesPerSecond?: number | undefined;
  /** Chunks are cut into parts of this many bytes, as small packets would. */
  splitAt?: number | undefined;
  /** Sees every chunk before it goes on, `up` to the server and `down` from it; `cut` swallows it and resets both sides. */
  watch?: ((chunk: Buffer, direction: Direction) => 'cut' | undefined) | undefined;
}

/**
 * Stands on the loopback before a port and does to its connections what networks do. Each fault works on the
 * connections that exist and on those that come.
 */
export class TcpProxy {
  readonly faults: Faults = { latencyMs: 0 };
  /** Sees that the way of a connection to the server has ended, by the port from which it came there. */
  onEnd: (port: number) => void = () => {};
  /** How many connections it has refused. */
  refused = 0;
  private refusing = false;
  private stalled = false;
  private readonly pairs = new Set<Pair>();

  private constructor(
    private readonly server: Server,
    private readonly target: { readonly host: string; readonly port: number },
  ) {
    server.on('connection', (client) => this.accept(client));
  }

  /** Before the host and port of `url`. */
  static async before(url: string): Promise<TcpProxy> {
    const { hostname: host, port } = new URL(url);
    const server = createServer({ allowHalfOpen: true });
    const proxy = new TcpProxy(server, { host, port: Number(port) });
    await once(server.listen(0, '127.0.0.1'), 'listening');
    return proxy;
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port;
  }

  /** `url` with the proxy in place of the server. */
  through(url: string): string {
    const proxied = new URL(url);
    proxied.hostname = '127.0.0.1';
    proxied.port = String(this.port);
    return proxied.toString();
  }

  /** How many connections stand just now. */
  get connections(): number {
    return this.pairs.size;
  }

  /** Resets all connections, as a router that lost its state. @returns how many there were. */
  cut(): number {
    const cut = this.pairs.size;
    for (const pair of this.pairs) pair.end();
    // Their sockets close a moment later, and until then they stand no more than after it.
    this.pairs.clear();
    return cut;
  }

  /** New connections are reset at once, as by a host that is up while its server is not. */
  refuse(on: boolean): void {
    this.refusing = on;
  }

  /**
   * Half-open: connections stand and are accepted, nothing passes and nothing is said about it. Off again, what waited
   * goes on its way, as after a partition that healed.
   */
  stall(on: boolean): void {
    this.stalled = on;
    for (const pair of this.pairs) pair.stall(on);
  }

  async close(): Promise<void> {
    const closed = once(this.server.close(), 'close');
    this.cut();
    await closed;
  }

  private accept(client: Socket): void {
    client.on('error', () => {});
    if (this.refusing) {
      this.refused += 1;
      return void client.resetAndDestroy();
    }
    const server = dial({ ...this.target, allowHalfOpen: true });
    server.once('connect', () => {
      const port = server.localPort!;
      server.once('close', () => this.onEnd(port));
    });
    const pair = new Pair(client, server, this.faults);
    this.pairs.add(pair);
    pair.ended.then(() => this.pairs.delete(pair));
    pair.stall(this.stalled);
  }
}

/** One connection: two sockets, and what is on its way between them. */
class Pair {
  readonly ended: Promise<void>;
  private readonly gate = new Gate();

  constructor(
    private readonly client: Socket,
    private readonly server: Socket,
    private readonly faults: Faults,
  ) {
    const sides = [client, server];
    for (const side of sides) {
      side.setNoDelay(true);
      side.on('error', () => this.end());
    }
    this.ended = Promise.all(sides.map((side) => new Promise((resolve) => side.once('close', resolve)))).then(() => {});
    void this.carry(client, server, 'up');
    void this.carry(server, client, 'down');
  }

  stall(on: boolean): void {
    if (on) this.gate.shut();
    else this.gate.open();
  }

  end(): void {
    for (const side of [this.client, this.server]) {
      // A side that was told the end already cannot be reset: Node would leave its socket open and never exit.
      if (!side.writableEnded) side.resetAndDestroy();
      // Nor does a reset come about by itself while something cannot be written.
      side.destroy();
    }
    this.gate.open();
  }

  private async carry(from: Socket, to: Socket, direction: Direction): Promise<void> {
    try {
      for await (const chunk of from as AsyncIterable<Buffer>) {
        for (const part of this.parts(chunk)) {
          if (this.faults.latencyMs > 0) await after(this.faults.latencyMs);
          if (this.faults.bytesPerSecond) await after((part.length / this.faults.bytesPerSecond) * 1_000);
          await this.gate.passed();
          if (this.faults.watch?.(part, direction) === 'cut') return this.end();
          if (!to.write(part)) await Promise.race([once(to, 'drain'), this.ended]);
        }
      }
      to.end();
    } catch {
      // A socket that broke was ended by its own error handler; the other side is told here.
      this.end();
    }
  }

  private parts(chunk: Buffer): Buffer[] {
    const size = this.faults.splitAt ?? chunk.length;
    return Array.from({ length: Math.ceil(chunk.length / size) }, (_, n) => chunk.subarray(n * size, (n + 1) * size));
  }
}

/** Shut, everybody who comes to it waits. */
class Gate {
  private opened: Promise<void> | undefined;
  private letGo: (() => void) | undefined;

  shut(): void {
    this.opened ??= new Promise((resolve) => {
      this.letGo = resolve;
    });
  }

  open(): void {
    this.letGo?.();
    this.opened = undefined;
  }

  async passed(): Promise<void> {
    await this.opened;
  }
}
