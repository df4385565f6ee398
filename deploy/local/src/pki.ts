import { execFile } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';

const openssl = (...args: string[]) => promisify(execFile)('openssl', args);

/**
 * The cluster's certificates in `folder`: `ca.crt/.key`, `apiserver.crt/.key` signed by it, and `service-accounts.key/
 * .pub`. Made once (openssl, which RabbitMQ's package brings along); the folder appears only when it is complete.
 */
export async function ensurePki(folder: string): Promise<void> {
  if (existsSync(folder)) return;
  const unfinished = `${folder}.new`;
  rmSync(unfinished, { recursive: true, force: true });
  mkdirSync(unfinished, { recursive: true, mode: 0o700 });
  const file = (name: string) => join(unfinished, name);

  const newKey = ['-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '3650'];
  await openssl(
    ...['req', ...newKey, '-subj', '/CN=odoo-mesh-local-ca', '-keyout', file('ca.key'), '-out', file('ca.crt')],
    ...['-addext', 'keyUsage=critical,keyCertSign,digitalSignature'],
  );
  const names = ['DNS:localhost', 'DNS:kubernetes', 'DNS:kubernetes.default', 'DNS:kubernetes.default.svc'];
  // Loopback, the first service address, and the node's address for when a real node joins.
  const addresses = ['IP:127.0.0.1', 'IP:10.43.0.1', 'IP:10.99.0.1'];
  await openssl(
    ...['req', ...newKey, '-subj', '/CN=kube-apiserver', '-CA', file('ca.crt'), '-CAkey', file('ca.key')],
    ...['-keyout', file('apiserver.key'), '-out', file('apiserver.crt')],
    ...['-addext', `subjectAltName=${[...names, ...addresses].join(',')}`, '-addext', 'extendedKeyUsage=serverAuth'],
    ...['-addext', 'basicConstraints=critical,CA:FALSE'],
  );

  const serviceAccounts = generateKeyPairSync('rsa', {
    modulusLength: 2048,
    publicKeyEncoding: { type: 'spki', format: 'pem' },
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
  });
  writeFileSync(file('service-accounts.key'), serviceAccounts.privateKey, { mode: 0o600 });
  writeFileSync(file('service-accounts.pub'), serviceAccounts.publicKey);
  renameSync(unfinished, folder);
}
