import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

/** A certificate for one name, or for all below one, which is its own authority; in PEM. */
export async function selfSigned(name: string): Promise<{ key: string; certificate: string }> {
  const { stdout } = await promisify(execFile)('openssl', [
    ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2'],
    ...['-subj', `/CN=${name}`, '-addext', `subjectAltName=DNS:${name}`, '-keyout', '-', '-out', '-'],
  ]);
  const part = (pattern: RegExp) => pattern.exec(stdout)![0];
  return {
    key: part(/-----BEGIN PRIVATE.*?PRIVATE KEY-----\n/s),
    certificate: part(/-----BEGIN CERT.*?CERTIFICATE-----\n/s),
  };
}
