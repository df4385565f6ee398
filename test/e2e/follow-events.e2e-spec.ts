import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { waitFor } from '#testing/wait-for.js';
import { TestMesh } from './test-mesh.js';

let mesh: TestMesh;
const followers: Follower[] = [];

beforeAll(async () => {
  mesh = await TestMesh.start();
});
afterAll(async () => {
  // One that a failed test left behind would connect again for ever.
  await Promise.all(followers.map((follower) => follower.stop()));
  await mesh?.stop();
});

interface Followed {
  readonly id: string;
  readonly fact: string;
  readonly data: { instanceId: string; fact: string; customerId: string | null };
}

/** A client as a browser is one: it connects again by itself, with the id of the last event it saw. */
class Follower {
  readonly events: Followed[] = [];
  connections = 0;
  refused = 0;
  private place: string | undefined;
  private readonly ended = new AbortController();
  private readonly running: Promise<void>;

  constructor(
    private readonly query = '',
    private readonly key = mesh.installed.apiKey,
  ) {
    followers.push(this);
    this.running = this.run();
  }

  async stop(): Promise<void> {
    this.ended.abort();
    await this.running;
  }

  of(instanceId: string): string[] {
    return this.events.filter(({ data }) => data.instanceId === instanceId).map(({ fact }) => fact);
  }

  private async run(): Promise<void> {
    while (!this.ended.signal.aborted) {
      try {
        await this.connect();
      } catch {
        await this.somebodyThere();
      }
    }
  }

  /** The gateway is away, or does not want us, or we are to stop. */
  private async somebodyThere(): Promise<void> {
    const answers = async () =>
      this.ended.signal.aborted || (await fetch(`${mesh.services.url('api-gateway')}/livez`)).ok;
    await waitFor('the gateway to answer', answers, { timeoutMs: 60_000 });
  }

  private async connect(): Promise<void> {
    const headers = { authorization: `Bearer ${this.key}`, ...(this.place && { 'last-event-id': this.place }) };
    const url = `${mesh.services.url('api-gateway')}/v1/events${this.query}`;
    const response = await fetch(url, { headers, signal: this.ended.signal });
    if (response.status === 401) this.refused += 1;
    if (response.status !== 200) throw new Error(`answered ${response.status}`);
    this.connections += 1;
    let text = '';
    for await (const chunk of response.body!.pipeThrough(new TextDecoderStream())) {
      text += chunk;
      const blocks = text.split('\n\n');
      text = blocks.pop()!;
      for (const block of blocks) this.take(block);
    }
  }

  private take(block: string): void {
    const fields = new Map(block.split('\n').map((line) => line.split(/: (.*)/s).slice(0, 2) as [string, string]));
    const id = fields.get('id');
    if (id) this.place = id;
    const data = fields.get('data');
    if (data) this.events.push({ id: id!, fact: fields.get('event')!, data: JSON.parse(data) });
  }
}

test('a client sees every fact once, in the order of their ids, over kills and restarts of the gateway', async () => {
  const follower = new Follower('?after=0');
  await waitFor('the stream', () => follower.connections === 1);
  const requests = Array.from({ length: 12 }, (_, i) => mesh.request(`event-${i}`));
  for (const [i, request] of requests.entries()) {
    await mesh.publish(request);
    if (i === 3) await mesh.services.kill('api-gateway');
    if (i === 5) await mesh.services.start('api-gateway');
    if (i === 8) await mesh.services.stop('api-gateway');
    if (i === 10) await mesh.services.start('api-gateway');
  }
  for (const { data } of requests) await mesh.ready(data.instanceId);
  const recorded = () => mesh.sql('SELECT position::text AS id, fact FROM api_gateway.timeline ORDER BY position');
  await waitFor('all to be told', async () => {
    const ends = follower.events.filter(({ fact }) => fact === 'instance.ready');
    return ends.length === requests.length && follower.events.length === (await recorded()).length;
  });
  await follower.stop();
  expect(follower.connections).toBeGreaterThanOrEqual(3);
  expect(follower.events.map(({ id, fact }) => ({ id, fact }))).toEqual(await recorded());
});

test('a client of one customer sees this customer’s facts alone, and its stream ends with its key', async () => {
  const rights = { name: 'follower', role: 'viewer', customerId: 'c-follow' };
  const { body: key } = await mesh.api('/v1/api-keys', { method: 'POST', body: rights });
  const follower = new Follower('?after=0', key.key);
  const one = new Follower();
  await waitFor('both streams', () => follower.connections + one.connections === 2);
  const [own, other] = [mesh.request('own', { customerId: 'c-follow' }), mesh.request('other')];
  await mesh.publish(other);
  await mesh.publish(own);
  await mesh.ready(other.data.instanceId);
  await waitFor('the end of its own', () => follower.of(own.data.instanceId).includes('instance.ready'));
  expect(follower.events.every(({ data }) => data.customerId === 'c-follow')).toBe(true);
  // Without a place it begins with what comes next.
  expect(one.events.map(({ data }) => data.instanceId)).toEqual(
    expect.arrayContaining([own.data.instanceId, other.data.instanceId]),
  );
  expect(one.events.some(({ data }) => ![own.data.instanceId, other.data.instanceId].includes(data.instanceId))).toBe(
    false,
  );
  await one.stop();

  const { connections } = follower;
  await mesh.api(`/v1/api-keys/${key.id}`, { method: 'DELETE' });
  await waitFor('its key to be refused', () => follower.refused > 0);
  expect(follower.connections).toBe(connections);
  await follower.stop();
});

test.each(['?after=x', '?after=-1', '?colour=red'])('%s is refused', async (query) => {
  expect(await mesh.api(`/v1/events${query}`)).toMatchObject({ status: 400, body: { code: 'invalid' } });
});
