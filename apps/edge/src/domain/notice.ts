import type { Site } from './site.js';

/** Why there is no Odoo at an address just now, for whoever looks. */
export interface Notice {
  readonly code: NoticeCode;
  readonly status: number;
  readonly title: string;
  /** What is so, and why. */
  readonly detail: string;
  /** What lifts it, and whose turn that is. */
  readonly next: string;
  /** When looking again may help, in seconds; absent: not by waiting. */
  readonly retryAfter?: number;
}

const again = 'This page looks again by itself.';

const notices = {
  starting: {
    status: 503,
    title: 'Odoo is starting',
    detail: 'It is not ready yet. That takes a moment, and a few minutes when it is new.',
    next: again,
    retryAfter: 5,
  },
  maintenance: {
    status: 503,
    title: 'Under maintenance',
    detail: 'Odoo is being worked on, for instance upgraded or moved, and comes back when that is done.',
    next: again,
    retryAfter: 30,
  },
  hibernated: {
    status: 503,
    title: 'Odoo is asleep',
    detail: 'It was put to sleep because nobody had used it for a while. All of its data is there.',
    next: 'Whoever runs it can wake it.',
  },
  stopped: {
    status: 503,
    title: 'Odoo is stopped',
    detail: 'Its owner has stopped it. All of its data is there.',
    next: 'Its owner can start it again.',
  },
  unpaid: {
    status: 402,
    title: 'Odoo is suspended',
    detail: 'It is suspended because an invoice is not paid. All of its data is there.',
    next: 'It runs again when the invoice is paid.',
  },
  suspended: {
    status: 503,
    title: 'Odoo is suspended',
    detail: 'Its operator has suspended it. All of its data is there.',
    next: 'It runs again when the operator lifts the suspension. Its owner can ask the operator about it.',
  },
  failed: {
    status: 503,
    title: 'Odoo does not run',
    detail: 'It could not be made ready.',
    next: 'Its operator has to mend that.',
    retryAfter: 300,
  },
  ending: {
    status: 503,
    title: 'Odoo is closed',
    detail: 'Its contract has ended.',
    next: 'Until its data is deleted its owner can ask the operator to take that back.',
  },
  unknown: {
    status: 404,
    title: 'There is no Odoo here',
    detail: 'Nobody has this address.',
    next: 'Look whether it is spelt as it was given to you.',
  },
  untold: {
    status: 503,
    title: 'Odoo does not answer',
    detail: 'Why cannot be said just now.',
    next: again,
    retryAfter: 10,
  },
} as const satisfies Readonly<Record<string, Omit<Notice, 'code'>>>;

export type NoticeCode = keyof typeof notices;
export const noticeCodes = Object.keys(notices) as readonly NoticeCode[];

export function notice(code: NoticeCode): Notice {
  return { code, ...notices[code] };
}

const ofState = {
  provisioning: 'starting',
  // Its route still leads here, or leads here because nobody answers there: in a moment somebody does.
  running: 'starting',
  stopped: 'stopped',
  hibernated: 'hibernated',
  suspended: 'suspended',
  maintenance: 'maintenance',
  failed: 'failed',
  terminating: 'ending',
  purging: 'unknown',
  terminated: 'unknown',
} as const satisfies Readonly<Record<Site['state'], NoticeCode>>;

/** Says nothing that only owner and operator should know, so no reason but that of an unpaid invoice. */
export function noticeOf(site: Site | undefined): Notice {
  if (!site) return notice('unknown');
  if (site.state === 'suspended' && site.reason === 'unpaid') return notice('unpaid');
  return notice(ofState[site.state]);
}
