import { execFile } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { addresses as node, nodeName } from './node/addresses.js';

const openssl = (...args: string[]) => promisify(execFile)('openssl', args);

/**
 * The cluster's certificates in `folder`: `ca.crt/.key`, and signed by it `apiserver.crt/.key`, those of a real node
 * (`kubelet.crt/.key`) and those by which the apiserver calls it (`apiserver-kubelet.crt/.key`); and
 * `service-accounts.key/.pub`. Made once (openssl, which RabbitMQ's package brings along); the folder appears only when
 * it is complete.
 */
export async function ensurePki(folder: string): Promise<void> {
  if (existsSync(join(folder, 'kubelet.crt'))) return; // an older version made fewer
  rmSync(folder, { recursive: true, force: true });
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
  const addresses = ['IP:127.0.0.1', 'IP:10.43.0.1', `IP:${node.node}`];
  const signed = async (name: string, subject: string, usage: string, alternative: readonly string[]) =>
    await openssl(
      ...['req', ...newKey, '-subj', subject, '-CA', file('ca.crt'), '-CAkey', file('ca.key')],
      ...['-keyout', file(`${name}.key`), '-out', file(`${name}.crt`)],
      ...['-addext', `extendedKeyUsage=${usage}`, '-addext', 'basicConstraints=critical,CA:FALSE'],
      ...(alternative.length > 0 ? ['-addext', `subjectAltName=${alternative.join(',')}`] : []),
    );
  await signed('apiserver', '/CN=kube-apiserver', 'serverAuth', [...names, ...addresses]);
  await signed('apiserver-kubelet', '/O=system:masters/CN=apiserver-kubelet', 'clientAuth', []);
  await signed('kubelet', `/O=system:nodes/CN=system:node:${nodeName}`, 'serverAuth,clientAuth', [
    `DNS:${nodeName}`,
    `IP:${node.node}`,
  ]);

  const serviceAccounts = generateKeyPairSync('rsa', {
    modulusLength: 2048,
    publicKeyEncoding: { type: 'spki', format: 'pem' },
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
  });
  writeFileSync(file('service-accounts.key'), serviceAccounts.privateKey, { mode: 0o600 });
  writeFileSync(file('service-accounts.pub'), serviceAccounts.publicKey);
  renameSync(unfinished, folder);
}
