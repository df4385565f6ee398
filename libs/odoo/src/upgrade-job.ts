import type { V1Job } from '@kubernetes/client-node';
import { containerOf, odooContainer } from './deployment-manifest.js';
import type { FootprintSpec } from './footprint.js';
import { jobOf } from './job-manifest.js';
import { filestoreDir } from './odoo-conf.js';
import type { Wire } from './wire.js';

/** Of the containers, in their order: who reads the log of one asks for it by this name. */
export const upgradeContainers = ['files', 'update', 'smoke'] as const;
export type UpgradeContainer = (typeof upgradeContainers)[number];

/**
 * Every file of the old folder under the new one, without a second copy of its content: Odoo's files are written once and
 * never changed. A folder that is neither is left over from an earlier try. To a hidden name first, so that a copy that is
 * cut off is never taken for a whole one. The names are arguments, not part of the script.
 */
const linkFiles = `
cd "$1"
for one in * .[!.]*; do
  [ -e "$one" ] || continue
  [ "$one" = "$2" ] || rm -rf "$one"
done
[ -e "$2" ] || mkdir "$2"
cp -al "$2" ".$3"
mv ".$3" "$3"
`;

/** Ends with 0 when the log-in page comes, is one, and all that it needs comes too. */
const smokeTest = `
import re, urllib.request

def get(path):
    with urllib.request.urlopen('http://127.0.0.1:8069' + path, timeout=300) as answer:
        if answer.status != 200 or answer.url.split('8069', 1)[1] != path:
            raise SystemExit(f'{path} is answered with {answer.status} from {answer.url}')
        return answer.read().decode('utf-8', 'replace')

get('/websocket/health')
page = get('/web/login')
if 'name="login"' not in page:
    raise SystemExit('/web/login is no log-in page')
for asset in sorted(set(re.findall(r'["\\'](/web/assets/[^"\\']+)["\\']', page))):
    get(asset)
print('the log-in page and all its parts come')
`;

/**
 * The update of a copy: its database is `spec.names.database`, its files become links to those of `from`; then Odoo's own
 * update, with the new image; then that image serves the copy to itself. Never tried again by itself: who asked for it looks
 * at the end and decides.
 * @param modules names, or none for all.
 */
export function upgradeJobManifest(
  spec: FootprintSpec,
  { name, from, modules }: { readonly name: string; readonly from: string; readonly modules: readonly string[] },
): Wire<V1Job> {
  const { readinessProbe: _, livenessProbe: __, ...odoo } = odooContainer(spec);
  return jobOf(spec, name, {
    initContainers: [
      {
        ...containerOf(spec, 'files'),
        command: ['sh', '-ec', linkFiles, 'sh', filestoreDir, from, spec.names.database],
      },
      {
        ...containerOf(spec, 'update'),
        args: ['-u', modules.length > 0 ? modules.join(',') : 'all', '--stop-after-init', '--no-http'],
      },
      // A sidecar in Kubernetes' sense: started when the update is done, and ended when the work is.
      { ...odoo, restartPolicy: 'Always' },
    ],
    containers: [{ ...containerOf(spec, 'smoke'), command: ['python3', '-c', smokeTest] }],
  });
}
