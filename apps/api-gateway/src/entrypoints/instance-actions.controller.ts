import { Controller } from '@nestjs/common';
import { z } from 'zod';
import {
  InstanceProvisionRetryRequested,
  InstanceRenameRequested,
  InstanceResizeRequested,
  InstanceRestartRequested,
  InstanceResumeRequested,
  InstanceStartRequested,
  InstanceStopRequested,
  InstanceSuspendRequested,
  InstanceSwitchBackRequested,
  InstanceTerminationCancelRequested,
  InstanceTerminationRequested,
  InstanceUpgradeRequested,
  type RequestContract,
} from '#contracts/index.js';
import { faultOfCustomDomains } from '#odoo/index.js';
import { ActOnInstance, Misfit, NothingToTake, UnknownInstance, type Wanted } from '../application/act-on-instance.js';
import type { Right } from '../domain/access.js';
import { domainOf, type InstanceView } from '../domain/instance-view.js';
import { Problem } from './problem.js';
import { withoutReuse } from './repeats.js';
import type { Call, Route } from './route.js';
import { Serves } from './serves.js';
import { AcceptedAction, Repeatable } from './shapes.js';

/** Who has one customer's key may let its instances run and stand still; all else is a matter of contracts. */
const ofCustomers = { role: 'operator', scope: 'customer' } as const;
const ofOperators = { role: 'operator', scope: 'platform' } as const;

const actions = [
  action('start', InstanceStartRequested, ofCustomers, 'Lets an instance run'),
  action('stop', InstanceStopRequested, ofCustomers, 'Lets an instance stand still until somebody starts it'),
  action('restart', InstanceRestartRequested, ofCustomers, 'Lets an instance that runs begin anew'),
  action('suspend', InstanceSuspendRequested, ofOperators, 'Keeps an instance from running until it is resumed'),
  action('resume', InstanceResumeRequested, ofOperators, 'Lifts the suspension of an instance'),
  action('resize', InstanceResizeRequested, ofOperators, 'Gives an instance another plan'),
  action('upgrade', InstanceUpgradeRequested, ofOperators, 'Lets an instance run on another image, or rehearses it'),
  action(
    'rename',
    InstanceRenameRequested,
    ofOperators,
    'Gives an instance another host name, or other domains of its customer beside it',
    {},
    faultOfNames,
  ),
  action(
    'switch-back',
    InstanceSwitchBackRequested,
    ofOperators,
    'Lets an instance live again where it lived before it was switched',
    // Absent: the one it lived in last.
    { footprintId: ({ previousFootprintId }) => previousFootprintId },
  ),
  action('terminate', InstanceTerminationRequested, ofOperators, 'Destroys an instance after a grace'),
  action('cancel-termination', InstanceTerminationCancelRequested, ofOperators, 'Keeps an instance after all'),
  action('retry', InstanceProvisionRetryRequested, ofOperators, 'Takes a making up again that was given up'),
];

interface InstanceAction {
  readonly name: string;
  readonly contract: RequestContract;
  readonly absent: Wanted['absent'];
  readonly faultOf: Wanted['faultOf'];
  readonly route: Route & ReturnType<typeof routeOf>;
}

/** `POST /v1/instances/{instanceId}/actions/<name>`, with the fields of the request that the caller may choose. */
function action(
  name: string,
  contract: RequestContract<string, z.ZodObject>,
  right: Right,
  summary: string,
  absent: Wanted['absent'] = {},
  faultOf?: Wanted['faultOf'],
): InstanceAction {
  return { name, contract, absent, faultOf, route: routeOf(name, contract, right, summary, absent) };
}

/** What lifecycle and planner would refuse, said at once. Whether somebody else has a name only they know. */
function faultOfNames(fields: object, { host }: InstanceView): string | undefined {
  const { slug, customDomains } = fields as { readonly slug?: string; readonly customDomains?: readonly string[] };
  if (slug === undefined && customDomains === undefined) return 'slug or customDomains: one of them is needed';
  if (host === null || customDomains === undefined) return undefined;
  const fault = faultOfCustomDomains(customDomains, domainOf(host));
  return fault && `customDomains: ${fault.message}`;
}

function routeOf(
  name: string,
  contract: RequestContract<string, z.ZodObject>,
  right: Right,
  summary: string,
  absent: Wanted['absent'],
) {
  const { instanceId: _, requestedBy: _by, ...fields } = contract.data.shape;
  const optional = Object.fromEntries(Object.keys(absent).map((field) => [field, true as const]));
  return {
    id: `${name.replace(/-(.)/g, (_dash, letter: string) => letter.toUpperCase())}Instance`,
    method: 'post',
    path: `/v1/instances/{instanceId}/actions/${name}`,
    summary,
    description:
      'Answered at once; what becomes of it, and whether it can be done at all, shows in its operation and in the timeline.',
    right,
    params: z.strictObject({ instanceId: z.uuid() }),
    headers: Repeatable,
    body: z.strictObject(fields).partial(optional),
    status: 202,
    answer: AcceptedAction,
    answerHeaders: { Location: 'Of the operation.' },
    problems: [
      ...(['bad-request', 'unknown-instance', 'body-too-large'] as const),
      ...(['unsupported-media-type', 'idempotency-key-reused'] as const),
      ...(Object.keys(absent).length > 0 ? (['nothing-before'] as const) : []),
    ],
  } as const satisfies Route;
}

/** Its methods are made from the table: each action is served at an address of its own. */
@Controller()
export class InstanceActionsController {
  constructor(private readonly acting: ActOnInstance) {}

  async ask({ name, contract, absent, faultOf }: InstanceAction, call: Call<InstanceAction['route']>) {
    const { params, headers, body: fields, caller, traceparent } = call;
    try {
      const wanted = { action: name, contract, instanceId: params.instanceId, fields, absent, faultOf };
      const accepted = await withoutReuse(
        this.acting.ask(wanted, { caller, key: headers['idempotency-key'], traceparent }),
      );
      call.setHeader('Location', `/v1/operations/${accepted.operationId}`);
      return accepted;
    } catch (error) {
      if (error instanceof UnknownInstance) throw new Problem('unknown-instance');
      if (error instanceof NothingToTake) throw new Problem('nothing-before');
      if (error instanceof Misfit) throw new Problem('invalid', error.message);
      throw error;
    }
  }
}

for (const one of actions) {
  const { prototype } = InstanceActionsController;
  const method = {
    configurable: true,
    value: async function (this: InstanceActionsController, call: Call<InstanceAction['route']>) {
      return await this.ask(one, call);
    },
  };
  Object.defineProperty(prototype, one.route.id, method);
  Serves(one.route)(prototype, one.route.id, method);
}
