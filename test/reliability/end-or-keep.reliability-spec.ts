import { afterAll, beforeAll, expect, jest, test } from '@jest/globals';
import { newId } from '#contracts/index.js';
import { waitFor } from '#testing/wait-for.js';
import { longForm, seedOfThisRun } from '../e2e/config.js';
import { Lifecycle } from '../e2e/lifecycle.js';
import { type Heard, TestMesh } from '../e2e/test-mesh.js';
import { Dice } from './fixtures/dice.js';
import { type Footprint, worldOf, worldWhen } from './fixtures/lifecycle-world.js';

const rounds = longForm() ? 500 : 60;
const instances = 6;
if (longForm()) jest.setTimeout(1_200_000);

let mesh: TestMesh;
let lifecycle: Lifecycle;
let made = 0;

beforeAll(async () => {
  mesh = await TestMesh.start({ jobLease: '2s' });
  lifecycle = new Lifecycle(mesh);
});
afterAll(() => mesh?.stop());

async function running(): Promise<Footprint> {
  const request = mesh.request(`end-or-keep-${made++}`);
  await mesh.publish(request);
  const ready = await mesh.ready(request.data.instanceId);
  await lifecycle.state(ready.instanceId, 'running');
  return ready;
}

/** One instance, again and again ended and kept, until its end was quicker. */
class Contested {
  /** When a backup was first said to be proved whole, from off-site, by its id. */
  private readonly proved = new Map<string, number>();
  private readonly wishes: string[] = [];
  private backupBefore: string | undefined;

  constructor(
    readonly footprint: Footprint,
    private readonly dice: Dice,
  ) {}

  /** @returns whether it is still there. */
  async contest(): Promise<boolean> {
    const { dice } = this;
    if (dice.oneIn(4)) await this.holdIt();
    const end = await this.ask('termination', { at: new Date().toISOString() });
    // Sometimes before anything was done for it.
    const early = dice.oneIn(4) ? await this.ask('termination-cancel') : undefined;
    const scheduled = await lifecycle.answerTo(end);
    if (scheduled.fact === 'termination-scheduled') {
      const { finalBackupId } = scheduled;
      if (dice.oneIn(4)) await this.proveAndLetItCount(finalBackupId);
      await Promise.all(
        dice
          .shuffled([
            ...(early === undefined ? [() => this.ask('termination-cancel')] : []),
            ...(dice.oneIn(4) ? [() => this.prove(finalBackupId)] : []),
            () => this.pretend(finalBackupId),
            () => this.restoreIt(),
            // Somebody changes his mind once more: with a backup of before he must not get rid of it.
            ...(dice.oneIn(6) ? [() => this.ask('termination', { at: new Date().toISOString() })] : []),
          ])
          .map((act) => act()),
      );
      this.backupBefore = finalBackupId;
    }
    return await this.settled();
  }

  /** What lifecycle said of it, in its order. */
  get told(): Heard[] {
    const once = new Map<string, Heard>();
    for (const one of mesh.heard)
      if (one.publisher === `${mesh.name}-lifecycle` && one.envelope.data.instanceId === this.footprint.instanceId)
        once.set(one.envelope.id, one);
    return [...once.values()].sort((a, b) => a.envelope.sequence! - b.envelope.sequence!);
  }

  faults(): string[] {
    const faults: string[] = [];
    let backup: string | undefined;
    for (const { key, envelope } of this.told) {
      const { data } = envelope;
      const said = Date.parse((envelope as { time?: string }).time!);
      if (key === 'instance.termination-scheduled.v1') backup = data.finalBackupId;
      // From here on it may run, and what was kept of it before is not all.
      if (data.operation?.operation === 'cancel-termination') backup = undefined;
      if (key !== 'instance.purge-approved.v1') continue;
      const proved = this.proved.get(data.backupId);
      if (proved === undefined || proved > said) faults.push(`approved with ${data.backupId}, which nobody had proved`);
      if (data.backupId !== backup) faults.push(`approved with ${data.backupId}; its final backup is ${backup}`);
    }
    for (const id of this.wishes)
      if (new Set(lifecycle.answersTo(id).map(({ envelope }) => envelope.id)).size !== 1)
        faults.push(`${id} was not answered once`);
    return faults.map((fault) => `instance ${this.footprint.instanceId}: ${fault}`);
  }

  /** A restore has it when its end is asked for, and gives it back afterwards, if it still thinks that it may. */
  private async holdIt(): Promise<void> {
    const asked = { purpose: 'restore', deadline: new Date(Date.now() + 60_000).toISOString() };
    const quiesce = await this.ask('quiesce', asked);
    if (this.dice.oneIn(2)) return;
    const { token } = await lifecycle.answerTo(quiesce);
    void this.ask('release', { token });
  }

  /** A restore that comes while it ends. */
  private async restoreIt(): Promise<void> {
    if (!this.dice.oneIn(3)) return;
    await this.ask('quiesce', { purpose: 'restore', deadline: new Date(Date.now() + 500).toISOString() });
    if (this.dice.oneIn(2)) await this.ask('release', { token: newId() });
  }

  private async prove(backupId: string): Promise<void> {
    if (!this.proved.has(backupId)) this.proved.set(backupId, Date.now());
    await lifecycle.verifyBackup(this.footprint.instanceId, backupId);
  }

  /** The end gets some head start: as long as a few others say what means nothing. */
  private async proveAndLetItCount(backupId: string): Promise<void> {
    await this.prove(backupId);
    while (!this.dice.oneIn(4)) await lifecycle.verifyBackup(this.footprint.instanceId, newId());
  }

  /** All that looks like a proof and is none. */
  private async pretend(backupId: string): Promise<void> {
    const { instanceId } = this.footprint;
    if (this.dice.oneIn(2)) await lifecycle.verifyBackup(instanceId, backupId, { depth: 'light' });
    if (this.dice.oneIn(2)) await lifecycle.verifyBackup(instanceId, backupId, { offSite: false });
    if (this.backupBefore && this.dice.oneIn(2)) await lifecycle.verifyBackup(instanceId, this.backupBefore);
  }

  private async ask(what: string, data: Record<string, unknown> = {}): Promise<string> {
    const id = await lifecycle.ask(what, this.footprint.instanceId, data);
    this.wishes.push(id);
    return id;
  }

  /** All is answered. What was not kept is had back, or gone. */
  private async settled(): Promise<boolean> {
    for (let at = 0; at < this.wishes.length; at++) await lifecycle.answerTo(this.wishes[at]!);
    const { instanceId } = this.footprint;
    const { state } = lifecycle.stateOf(instanceId)!;
    if (state === 'terminating') {
      const kept = await lifecycle.answerTo(await this.ask('termination-cancel'));
      if (kept.fact === 'termination-cancelled') return true;
      await lifecycle.state(instanceId, 'terminated');
      return false;
    }
    if (state === 'running') return true;
    if (state === 'maintenance') {
      const released = () => mesh.said('instance.released.v1', instanceId).length;
      const before = released();
      await waitFor('its release', () => released() > before || lifecycle.stateOf(instanceId)!.state === 'running');
      return true;
    }
    await lifecycle.state(instanceId, 'terminated');
    return false;
  }
}

test('whoever ends an instance while others keep, restore or prove it: none is destroyed without the proof of its very last backup, and none that was kept', async () => {
  const { seed, chosen } = seedOfThisRun();
  console.log(`seed ${seed}${chosen ? '' : ' (the same again: MESH_SEED)'}`);
  const all: Contested[] = [];
  let left = rounds;
  let ended = 0;
  const contestAsOftenAsThereAreRounds = async (at: number) => {
    const dice = new Dice(seed + at);
    while (left > 0) {
      const one = new Contested(await running(), dice);
      all.push(one);
      while (left > 0) {
        left -= 1;
        if (await one.contest()) continue;
        ended += 1;
        break;
      }
    }
  };
  await mesh.explained(Promise.all(Array.from({ length: instances }, (_, at) => contestAsOftenAsThereAreRounds(at))));

  expect(all.flatMap((one) => one.faults())).toEqual([]);
  for (const { footprint, told } of all) {
    const last = lifecycle.stateOf(footprint.instanceId)!;
    const approved = told.some(({ key }) => key === 'instance.purge-approved.v1');
    expect([last.state, approved]).toEqual(approved ? ['terminated', true] : ['running', false]);
    if (!approved) expect(await worldOf(mesh, footprint, last.secret)).toMatchObject(worldWhen('running'));
  }
  console.log(`${rounds} times ended, ${ended} of them for good`);
  expect(ended).toBeGreaterThan(0);
  expect(await mesh.sql('SELECT type, reason, error FROM api_gateway.parked_message')).toEqual([]);
});
