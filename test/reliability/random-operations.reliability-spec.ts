import { afterAll, beforeAll, expect, jest, test } from '@jest/globals';
import fc from 'fast-check';
import { newId } from '#contracts/index.js';
import type { MeshServices } from '#local/mesh-services.js';
import { waitFor } from '#testing/wait-for.js';
import { longForm, seedOfThisRun } from '../e2e/config.js';
import { FootprintsBeside } from '../e2e/footprints-beside.js';
import { Lifecycle } from '../e2e/lifecycle.js';
import { type Heard, TestMesh } from '../e2e/test-mesh.js';
import { InstanceModel, type Told, type Wish } from './fixtures/lifecycle-model.js';
import { type Footprint, worldBeside, worldOf, worldWhen } from './fixtures/lifecycle-world.js';

const instances = 4;
const runs = longForm() ? 8 : 1;
const steps = longForm() ? 100 : 50;
if (longForm()) jest.setTimeout(1_200_000);

let mesh: TestMesh;
let lifecycle: Lifecycle;
let beside: FootprintsBeside;
let replicas: readonly MeshServices[];

beforeAll(async () => {
  mesh = await TestMesh.start({ jobLease: '2s' });
  lifecycle = new Lifecycle(mesh);
  beside = new FootprintsBeside(mesh);
  replicas = [mesh.services, await mesh.startReplica(['lifecycle'])];
});
afterAll(async () => {
  await beside?.close();
  await mesh?.stop();
});

type Step =
  | {
      readonly is: 'asked';
      readonly of: number;
      readonly what: string;
      readonly by: string;
      readonly why: string;
      readonly plan: string;
      readonly deadlineMs: number;
      /** Of a switch back or a release: which of its two footprints; 2: of a switch back somebody else's, of a release none. */
      readonly to: number;
      /** Of a release: the right one, if there is one. */
      readonly right: boolean;
      /** With a time from before the one before it. */
      readonly late: boolean;
      /** The very same message comes once more. */
      readonly twice: boolean;
      /** Somebody wants something else of it right afterwards, or when it is under way. */
      readonly next: { readonly what: string; readonly begun: boolean } | null;
      /** Nothing else is asked before this is answered. */
      readonly waits: boolean;
    }
  | { readonly is: 'killed'; readonly who: number };

type Asked = Extract<Step, { is: 'asked' }>;
/** By somebody who is in no hurry. */
const plainly: Omit<Asked, 'of' | 'what'> = {
  ...{ is: 'asked', by: 'signup', why: 'unpaid', plan: 'trial', deadlineMs: 0, to: 2 },
  ...{ right: true, late: false, twice: false, next: null, waits: true },
};

const oneIn = (n: number) => fc.nat({ max: n - 1 }).map((drawn) => drawn === 0);

const what = fc.constantFrom(
  ...['start', 'start', 'stop', 'stop', 'restart', 'suspend', 'resume', 'resume', 'resize', 'quiesce', 'quiesce'],
  ...[
    'release',
    'release',
    'termination',
    'termination-cancel',
    'termination-cancel',
    'move',
    'switch-back',
    'switch-back',
  ],
);
const next = fc.record({
  what: fc.constantFrom('stop', 'suspend', 'termination', 'termination-cancel', 'release', 'switch-back'),
  begun: fc.boolean(),
});

const asked: fc.Arbitrary<Step> = fc.record({
  is: fc.constant('asked' as const),
  of: fc.nat({ max: instances - 1 }),
  what,
  by: fc.constantFrom('anna', 'bert', 'signup'),
  why: fc.constantFrom('unpaid', 'abuse'),
  plan: fc.constantFrom('trial', 'starter', 'business', 'enterprise'),
  deadlineMs: fc.integer({ min: -100, max: 3_000 }),
  to: fc.nat({ max: 2 }),
  right: fc.boolean(),
  late: oneIn(8),
  twice: oneIn(5),
  next: fc.option(next, { freq: 1, nil: null }),
  waits: oneIn(4),
});
const killed: fc.Arbitrary<Step> = fc.record({ is: fc.constant('killed' as const), who: fc.nat({ max: 1 }) });
const script = fc.array(fc.oneof({ weight: 20, arbitrary: asked }, { weight: 1, arbitrary: killed }), {
  minLength: steps,
  maxLength: steps,
});

const kinds: Readonly<Record<string, string>> = {
  termination: 'terminate',
  'termination-cancel': 'cancel-termination',
};

/** The footprint that an instance is made in, and another one that it can be switched to. */
type Pair = readonly [Footprint, Footprint];

/** Some instances of one run, what was asked of them, and the replicas that are killed meanwhile. */
class Run {
  private readonly wishes = new Map<string, Wish>();
  private readonly comingBack: Promise<void>[] = [];

  constructor(private readonly footprints: readonly Pair[]) {}

  /** Those that have somewhere to go back to when all else begins. */
  async move(...some: readonly number[]): Promise<void> {
    await Promise.all(some.map((of) => this.askToMove({ ...plainly, of, what: 'move' })));
  }

  async take(step: Step): Promise<void> {
    if (step.is === 'asked') return await this.ask(step);
    const replica = replicas[step.who]!;
    await Promise.all(this.comingBack.splice(0));
    const back = replica.kill('lifecycle').then(() => replica.start('lifecycle'));
    back.catch(() => {});
    this.comingBack.push(back);
  }

  /** Everything has been answered, and nobody holds anything. */
  async rest(): Promise<void> {
    await Promise.all(this.comingBack);
    for (const { id } of this.wishes.values()) await lifecycle.answerTo(id, 90_000);
    await waitFor('all to be released', () => this.footprints.every(([{ instanceId }]) => !this.heldToken(instanceId)));
    const open = () => mesh.sql(`SELECT instance_id, kind, status FROM lifecycle.operation WHERE status <> 'ended'`);
    await waitFor('all operations to have ended', async () => (await open()).length === 0);
  }

  /** What does not fit; empty: all of it does. */
  async faults(): Promise<string[]> {
    return (await Promise.all(this.footprints.map((one) => this.faultsOf(one)))).flat();
  }

  private async ask(step: Asked): Promise<void> {
    if (step.what === 'move') return await this.askToMove(step);
    const { what, by: requestedBy, why, plan } = step;
    const pair = this.footprints[step.of]!;
    const [{ instanceId }] = pair;
    const { footprintId } = pair[step.to] ?? this.footprints[(step.of + 1) % instances]![0];
    const now = Date.now();
    const id = newId();
    const time = new Date(step.late ? now - 5_000 : now).toISOString();
    const details = {
      ...(what === 'suspend' && { why }),
      ...(what === 'resize' && { plan }),
      ...(what === 'quiesce' && { purpose: 'restore', deadline: new Date(now + step.deadlineMs).toISOString() }),
      ...(what === 'release' && { token: (step.right && this.heldToken(instanceId)) || newId() }),
      ...((what === 'switch-back' || (what === 'release' && step.to < 2)) && { footprintId }),
    };
    this.wishes.set(id, { id, instanceId, kind: kinds[what] ?? what, requestedBy, time, ...details });
    for (let times = step.twice ? 2 : 1; times > 0; times--)
      await lifecycle.ask(what, instanceId, { id, time, requestedBy, ...details });
    if (step.next?.begun) await this.isUnderWay(instanceId, id);
    if (step.next) await this.ask({ ...step, what: step.next.what, next: null, waits: false });
    if (step.waits) await lifecycle.answerTo(id, 90_000);
  }

  /** Held until it is told to live in the one where it does not, unless somebody else comes between. */
  private async askToMove(step: Asked): Promise<void> {
    await this.ask({ ...step, what: 'quiesce', deadlineMs: 15_000, late: false, next: null, waits: true });
    const pair = this.footprints[step.of]!;
    const { footprintId } = lifecycle.stateOf(pair[0].instanceId)!;
    const to = pair.findIndex((one) => one.footprintId !== footprintId);
    await this.ask({ ...step, what: 'release', to, right: true, late: false });
  }

  /** Or has been, or had to wait for what is. */
  private async isUnderWay(instanceId: string, id: string): Promise<void> {
    const found = () => lifecycle.answersTo(id).length > 0 || lifecycle.stateOf(instanceId)?.operation !== undefined;
    await waitFor('something to be under way', found, { intervalMs: 5 });
  }

  private heldToken(instanceId: string): string | undefined {
    const last = this.told(instanceId).findLast(
      ({ fact, data }) =>
        fact === 'quiesced' || fact === 'released' || (fact === 'state-changed' && data.state === 'terminating'),
    );
    return last?.fact === 'quiesced' ? last.data.token : undefined;
  }

  /** What lifecycle said of it, in its order. A fact may come twice, under the same id. */
  private told(instanceId: string): Told[] {
    const once = new Map<string, Heard>();
    for (const one of mesh.heard)
      if (one.publisher === `${mesh.name}-lifecycle` && one.envelope.data.instanceId === instanceId)
        once.set(one.envelope.id, one);
    return [...once.values()]
      .sort((a, b) => a.envelope.sequence! - b.envelope.sequence!)
      .map(({ key, envelope }) => ({
        fact: /^instance\.(.*)\.v1$/.exec(key)![1]!,
        time: (envelope as { time?: string }).time!,
        data: envelope.data,
      }));
  }

  private async faultsOf(pair: Pair): Promise<string[]> {
    const [{ instanceId }] = pair;
    const wishes = new Map([...this.wishes].filter(([, wish]) => wish.instanceId === instanceId));
    const model = new InstanceModel(wishes);
    const told = this.told(instanceId);
    for (const one of told) model.hear(one);
    model.end();
    const { secret } = lifecycle.stateOf(instanceId)!;
    const livesIn = pair.findIndex(({ footprintId }) => footprintId === model.live);
    const [world, other] = await Promise.all(
      [pair[livesIn]!, pair[1 - livesIn]!].map((footprint) => worldOf(mesh, footprint, secret)),
    );
    const faults = [...model.faults];
    try {
      expect(other).toMatchObject(worldBeside);
      expect(other!.replicas ?? 0).toBe(0);
      // Where it was brought while it stood still, there is no Deployment yet; where it was made, there is one.
      const replicas = livesIn === 1 ? (world!.replicas ?? 0) : world!.replicas;
      expect({ ...world, replicas }).toMatchObject(worldWhen(model.state!));
      if (model.state === 'running') expect(world!.secrets.length).toBeLessThanOrEqual(3);
    } catch (error) {
      faults.push(`said to be ${model.state}: ${(error as Error).message}`);
    }
    if (faults.length === 0) return [];
    return [`instance ${instanceId}`, ...faults, 'was told:', ...told.map((one) => `  ${inShort(one)}`)];
  }
}

function inShort({ fact, time, data }: Told): string {
  const { operationId, state, reason, operation, code, message, footprintId } = data;
  return JSON.stringify({ time, fact, operationId, state, reason, operation, code, message, footprintId });
}

async function running(slug: string): Promise<Pair> {
  const request = mesh.request(slug, { plan: 'trial' });
  await mesh.publish(request);
  const ready = await mesh.ready(request.data.instanceId);
  const { instanceId } = await lifecycle.state(ready.instanceId, 'running');
  return [ready, { ...(await beside.make(ready)), instanceId }];
}

test(`whatever is asked of instances, in whatever order, and whoever dies meanwhile: each is answered once, what is said is a walk that the states allow, and the world is as it is said`, async () => {
  const { seed, chosen } = seedOfThisRun();
  console.log(`seed ${seed}${chosen ? '' : ' (the same again: MESH_SEED)'}`);
  let made = 0;
  const property = fc.asyncProperty(script, async (taken) => {
    const footprints = await Promise.all(Array.from({ length: instances }, () => running(`random-${made++}`)));
    const run = new Run(footprints);
    await run.move(0, 1);
    for (const step of taken) await run.take(step);
    await mesh.explained(run.rest());
    expect(await run.faults()).toEqual([]);
    expect(await mesh.sql('SELECT type, reason, error FROM api_gateway.parked_message')).toEqual([]);
  });
  // Each run has instances of its own and takes many seconds: a failure is told as it is, not made smaller.
  const { errorInstance } = await fc.check(property, { seed, numRuns: runs, endOnFailure: true });
  if (errorInstance)
    throw new Error(`with seed ${seed}: ${(errorInstance as Error).message}`, { cause: errorInstance });
});
