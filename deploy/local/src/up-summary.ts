/** What `npm run up` knows when its first instance is Ready. */
export interface Made {
  readonly instanceId: string;
  readonly url: string;
  /** As the Ready fact says it: `http` or `pod-condition`. */
  readonly verified: string;
  /** The nodes run nothing. */
  readonly simulated: boolean;
  readonly login: string;
  readonly passwordFile: string;
  /** The gateway's address. */
  readonly api: string;
  /** A file with the header that `curl -H @file` sends. */
  readonly apiKeyFile: string;
}

/** The lines below `Ready`: what there is, how far it can be believed, and what to try next. Holds no secret. */
export function summaryOf(made: Made): string[] {
  const curl = `curl -sS -H @${made.apiKeyFile}`;
  const instances = `${made.api}/v1/instances`;
  const wish = {
    slug: 'bakery',
    customerId: 'c-1043',
    plan: 'business',
    odooVersion: '18.0',
    company: 'Bakery Ltd',
    adminLogin: 'owner@bakery.example',
  };
  return [
    `Instance     ${made.url}  (${belief(made)})`,
    `Log-in       ${made.login}; first password: cat ${made.passwordFile}`,
    `API          ${made.api}/docs/ shows it; key: ${made.apiKeyFile}`,
    '',
    'Try next, in another terminal',
    '',
    '  # this instance; all of them',
    `  ${curl} ${instances}/${made.instanceId}`,
    `  ${curl} ${instances}`,
    '  # what happened to it; what it waits for and whose turn it is',
    `  ${curl} ${instances}/${made.instanceId}/timeline`,
    `  ${curl} ${instances}/${made.instanceId}/explain`,
    '  # every fact about every instance, as it happens',
    `  ${curl} -N '${made.api}/v1/events?after=0'`,
    '  # another one',
    `  ${curl} -H 'content-type: application/json' -d '${JSON.stringify(wish)}' ${instances}`,
    '  # stop everything; the data stays (-- --wipe deletes it)',
    '  npm run down',
  ];
}

function belief({ verified, simulated }: Made): string {
  if (verified === 'http') return 'it answered';
  if (simulated) return 'simulated node: verified by pod condition, nothing answers there yet';
  return 'verified by pod condition, whether it answers was not tried';
}
