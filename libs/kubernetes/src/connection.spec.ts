import { afterAll, beforeAll, expect, it } from '@jest/globals';
import { readConnection } from './connection.js';
import { kubeconfigOf, type ScriptedServer, startServer } from './scripted-server.fixture.js';

let files: ScriptedServer;
beforeAll(async () => {
  files = await startServer(() => {});
});
afterAll(() => files.close());

const read = (cluster: object, user: object) => readConnection(files.kubeconfig(kubeconfigOf(cluster, user)));
const base64 = (text: string) => Buffer.from(text).toString('base64');

it('a token, the authority and the name to check', () => {
  expect(
    read(
      {
        server: 'https://api.example:6443',
        'certificate-authority-data': base64('CA'),
        'tls-server-name': 'kubernetes',
      },
      { token: 't' },
    ),
  ).toEqual({
    origin: 'https://api.example:6443',
    basePath: '',
    tls: { ca: 'CA', servername: 'kubernetes' },
    headers: { accept: 'application/json', authorization: 'Bearer t' },
  });
});

it('a client certificate, and a server behind a path', () => {
  expect(
    read(
      { server: 'https://rancher.example/k8s/clusters/c-1/' },
      { 'client-certificate-data': base64('CERT'), 'client-key-data': base64('KEY') },
    ),
  ).toEqual({
    origin: 'https://rancher.example',
    basePath: '/k8s/clusters/c-1',
    tls: { cert: 'CERT', key: 'KEY' },
    headers: { accept: 'application/json' },
  });
});

it.each([
  [{ server: 'https://x', 'insecure-skip-tls-verify': true }, { token: 't' }, 'skips the check'],
  [{ server: 'https://x', 'proxy-url': 'http://p' }, { token: 't' }, 'wants a proxy'],
  [{ server: 'https://x' }, { exec: { command: 'aws', apiVersion: 'v1' } }, 'logs in by exec'],
  [{ server: 'https://x' }, { username: 'u', password: 'hunter2' }, 'logs in by username'],
])('refuses a cluster %j with a user %j', (cluster, user, why) => {
  expect(() => read(cluster, user)).toThrow(why);
  expect(() => read(cluster, user)).not.toThrow('hunter2');
});

it('names the file that is not there, or has no context', () => {
  expect(() => readConnection('/nowhere/kubeconfig')).toThrow('/nowhere/kubeconfig');
  const empty = files.kubeconfig('{"apiVersion":"v1","kind":"Config"}');
  expect(() => readConnection(empty)).toThrow(`${empty} has no current context`);
});
