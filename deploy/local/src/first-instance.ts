import { randomBytes, randomUUID } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { setTimeout as pause } from 'node:timers/promises';
import { hashPassword } from '#odoo/index.js';
import { throwIfInterrupted } from './interruption.js';
import { listen } from './listener.js';
import { type Program, programs } from './mesh-install.js';
import { apiKeyFile } from './mesh-phase.js';
import type { MeshServices } from './mesh-services.js';
import type { Phase, UpContext } from './phase.js';
import { type End, line, tell, toldKeys, traceIdOf } from './story.js';
import { publishRequest, type Wish } from './stranger.js';
import { say } from './terminal.js';
import { summaryOf } from './up-summary.js';

/** Orders an instance as another service would, and shows what is told of its making until it is Ready. */
export const firstInstance: Phase = { title: 'First instance', run: makeInstance };

const adminLogin = 'owner@acme.example';
const readyWithinMs = 120_000;

async function makeInstance(context: UpContext): Promise<void> {
  const { env, mesh, state } = context;
  if (!env || !mesh) throw new Error('an instance needs a mesh');
  const password = randomBytes(12).toString('base64url');
  const adminPasswordHash = await hashPassword(password);
  const wish = (slug: string): Wish => ({ instanceId: randomUUID(), slug, adminLogin, adminPasswordHash });

  let wanted = wish('acme');
  let end = await order(context, wanted);
  if (end.kind === 'refused' && end.code === 'slug-taken') {
    wanted = wish(`acme-${randomBytes(3).toString('hex')}`);
    say(`\n  That is the instance of an earlier run, still there. Another one:\n`);
    end = await order(context, wanted);
  }
  if (end.kind !== 'ready')
    throw new Error(`${wanted.slug} ${end.kind}: ${end.message} (${end.code})\n${mesh.services.logOf(end.culprit)}`);

  const passwordFile = state.path('mesh', `${wanted.slug}.password`);
  writeFileSync(passwordFile, `${password}\n`, { mode: 0o600 });
  context.summary.push(
    ...summaryOf({
      ...end,
      instanceId: wanted.instanceId,
      login: adminLogin,
      passwordFile,
      simulated: env.MESH_NODES === 'kwok',
      api: mesh.services.url('api-gateway'),
      apiKeyFile: apiKeyFile(state),
    }),
  );
}

/** Publishes the wish and shows each fact about it with the time since. Throws when nothing ends it in time. */
async function order(context: UpContext, wish: Wish): Promise<End> {
  const { env, mesh } = context;
  if (!env || !mesh) throw new Error('an order needs a mesh');
  throwIfInterrupted();
  const url = new URL(env.MESH_RABBITMQ_URL);
  url.pathname = `/${mesh.installed.plan.name}`;
  let begun = 0;
  let end: End | undefined;
  let atWork: Program = 'capacity-planner';
  const stopListening = await listen(url.toString(), toldKeys, (key, body) => {
    const told = tell(key, body, wish.instanceId);
    if (!told) return;
    say(line(told, performance.now() - begun));
    atWork = told.next ?? atWork;
    end = told.end ?? end;
    context.made = { traceId: traceIdOf(body) };
  });
  try {
    begun = performance.now();
    say(line({ mark: '✓', what: 'requested', note: `${wish.slug}, over AMQP as a stranger` }, 0));
    await publishRequest(mesh.installed.amqpUrl('signup'), wish);
    return await theEnd(mesh.services, wish, () => ({ end, atWork }));
  } finally {
    await stopListening();
  }
}

/** A service that dies, or says nothing in time, is named with the last lines of its log. */
async function theEnd(
  services: MeshServices,
  { slug }: Wish,
  look: () => { end: End | undefined; atWork: Program },
): Promise<End> {
  const until = Date.now() + readyWithinMs;
  for (;;) {
    const { end, atWork } = look();
    if (end) return end;
    throwIfInterrupted();
    const dead = programs.find((service) => !services.alive(service));
    if (dead) throw new Error(`${dead} has ended.\n${services.logOf(dead)}`);
    if (Date.now() > until)
      throw new Error(`${slug} is not Ready after ${readyWithinMs / 1000} s.\n${services.logOf(atWork)}`);
    await pause(20);
  }
}
