/** Units as Grafana calls them. */
type Unit = 'short' | 's' | 'percentunit' | 'reqps' | 'ops' | 'bytes' | 'none';

interface Panel {
  readonly title: string;
  readonly kind: 'timeseries' | 'stat';
  readonly unit: Unit;
  /** What it means when it is not as usual. */
  readonly says?: string;
  /** Expression → legend. */
  readonly shows: Readonly<Record<string, string>>;
}

interface Row {
  readonly title: string;
  readonly panels: readonly Panel[];
}

const services = 'job=~"api-gateway|backup|capacity-planner|edge|lifecycle|provisioner"';
const rate = (metric: string, labels: string, by: string) =>
  `sum by (${by}) (rate(${metric}${labels ? `{${labels}}` : ''}[$__rate_interval]))`;
const p95 = (metric: string, labels: string, by: string) =>
  `histogram_quantile(0.95, ${rate(`${metric}_bucket`, labels, `le, ${by}`)})`;

/** From top to bottom in the order in which one asks. */
const rows: readonly Row[] = [
  {
    title: 'Is all well?',
    panels: [
      {
        title: 'Alerts',
        kind: 'timeseries',
        unit: 'none',
        says: 'What to do: docs/runbooks.md.',
        shows: { 'sum by (alertname) (ALERTS{alertstate="firing",alertname!="MeshDeadMan"})': '{{alertname}}' },
      },
      {
        title: 'Ready',
        kind: 'stat',
        unit: 'none',
        says: 'How many of each service answer and say that they are ready.',
        shows: { [`sum by (job) (mesh_ready{${services}})`]: '{{job}}' },
      },
      {
        title: 'Instances',
        kind: 'stat',
        unit: 'short',
        shows: { 'max by (state) (mesh_instances)': '{{state}}' },
      },
      {
        title: 'Provisionings that succeed, one day',
        kind: 'stat',
        unit: 'percentunit',
        shows: { 'mesh:provisioning_outcomes:success_ratio_1d': 'succeed' },
      },
    ],
  },
  {
    title: 'Provisioning',
    panels: [
      {
        title: 'Ends',
        kind: 'timeseries',
        unit: 'ops',
        shows: { [rate('mesh_provisioning_outcomes_total', '', 'outcome, fault')]: '{{outcome}}, fault {{fault}}' },
      },
      {
        title: 'Time to Ready',
        kind: 'timeseries',
        unit: 's',
        says: 'From InstancePlaced; the wait for a place is not in it.',
        shows: {
          'mesh:provisioning_duration_seconds:p95_30m': 'one in twenty is slower',
          'histogram_quantile(0.5, sum by (le) (rate(mesh_provisioning_duration_seconds_bucket{outcome="ready"}[30m])))':
            'half are slower',
        },
      },
      {
        title: 'Time of each step, one in twenty is slower',
        kind: 'timeseries',
        unit: 's',
        shows: { 'mesh:provisioning_step_seconds:p95_30m': '{{step}}' },
      },
      {
        title: 'Steps that failed',
        kind: 'timeseries',
        unit: 'ops',
        shows: { [rate('mesh_provisioning_steps_total', 'outcome="failed"', 'step')]: '{{step}}' },
      },
      {
        title: 'Wait for a place',
        kind: 'timeseries',
        unit: 's',
        shows: { 'max(mesh_placements_oldest_seconds)': 'the oldest', 'max(mesh_placements_waiting)': 'how many' },
      },
    ],
  },
  {
    title: 'Messages',
    panels: [
      {
        title: 'Waiting in queues',
        kind: 'timeseries',
        unit: 'short',
        shows: { 'max by (queue) (mesh_queue_messages)': '{{queue}}' },
      },
      {
        title: 'Handled',
        kind: 'timeseries',
        unit: 'ops',
        shows: { [rate('mesh_messages_handled_total', '', 'queue, verdict')]: '{{queue}} {{verdict}}' },
      },
      {
        title: 'Failed',
        kind: 'timeseries',
        unit: 'ops',
        shows: { [rate('mesh_messages_failed_total', '', 'queue, end, reason')]: '{{queue}} {{end}}: {{reason}}' },
      },
      {
        title: 'Parked, waiting for somebody to decide',
        kind: 'timeseries',
        unit: 'short',
        shows: { 'max by (service) (mesh_parked_messages)': '{{service}}' },
      },
      {
        title: 'Time of handling, one in twenty is slower',
        kind: 'timeseries',
        unit: 's',
        shows: { [p95('mesh_message_handling_seconds', '', 'queue')]: '{{queue}}' },
      },
      {
        title: 'Age when handled, one in twenty is older',
        kind: 'timeseries',
        unit: 's',
        shows: { 'queue:mesh_message_age_seconds:p95_5m': '{{queue}}' },
      },
      {
        title: 'Said',
        kind: 'timeseries',
        unit: 'ops',
        shows: { [rate('mesh_outbox_sent_total', '', 'job, key')]: '{{job}} {{key}}' },
      },
      {
        title: 'Not said yet, not answered yet: the oldest',
        kind: 'timeseries',
        unit: 's',
        shows: {
          'max by (job) (mesh_outbox_oldest_seconds)': '{{job}} outbox',
          'max by (job) (mesh_asked_oldest_seconds)': '{{job}} asked',
        },
      },
      {
        title: 'Outbox: waiting, refused, relays',
        kind: 'timeseries',
        unit: 'short',
        shows: {
          'max by (job) (mesh_outbox_messages)': '{{job}} waiting',
          'max by (job) (mesh_outbox_refused)': '{{job}} refused',
          'sum by (job) (mesh_outbox_relaying)': '{{job}} relays',
        },
      },
      {
        title: 'Nobody binds their key',
        kind: 'timeseries',
        unit: 'ops',
        says: 'Facts that nobody hears are normal; requests and `unknown` are not.',
        shows: { [rate('mesh_messages_unrouted_total', '', 'key')]: '{{key}}' },
      },
    ],
  },
  {
    title: 'Jobs',
    panels: [
      {
        title: 'Runs',
        kind: 'timeseries',
        unit: 'ops',
        shows: { [rate('mesh_job_runs_total', '', 'kind, end')]: '{{kind}} {{end}}' },
      },
      {
        title: 'Due, failing, stuck, leased',
        kind: 'timeseries',
        unit: 'short',
        shows: {
          'max by (job, kind) (mesh_job_waiting)': '{{kind}} due',
          'max by (job, kind) (mesh_job_failing)': '{{kind}} failing',
          'max by (job, kind) (mesh_job_stuck)': '{{kind}} stuck',
          'max by (job, kind) (mesh_job_leased)': '{{kind}} leased',
          'sum by (job, kind) (mesh_job_running)': '{{kind}} running',
        },
      },
      {
        title: 'The oldest that is due',
        kind: 'timeseries',
        unit: 's',
        shows: { 'max by (job, kind) (mesh_job_oldest_seconds)': '{{kind}}' },
      },
      {
        title: 'Time of a run, one in twenty is slower',
        kind: 'timeseries',
        unit: 's',
        shows: { [p95('mesh_job_run_seconds', '', 'kind')]: '{{kind}}' },
      },
    ],
  },
  {
    title: 'Room',
    panels: [
      {
        title: 'Places',
        kind: 'timeseries',
        unit: 'short',
        shows: { 'max(mesh_places)': 'all', 'max(mesh_places_free)': 'free' },
      },
      {
        title: 'Cells: how full',
        kind: 'timeseries',
        unit: 'percentunit',
        shows: {
          'max by (cell) (mesh_cell_places_reserved) / max by (cell) (mesh_cell_places)': '{{cell}}',
        },
      },
      {
        title: 'Database shards: how full',
        kind: 'timeseries',
        unit: 'percentunit',
        shows: {
          'max by (shard) (mesh_shard_databases_reserved) / max by (shard) (mesh_shard_databases)': '{{shard}}',
        },
      },
    ],
  },
  {
    title: 'Backups',
    panels: [
      {
        title: 'Work that no good backup has: the oldest',
        kind: 'timeseries',
        unit: 's',
        says: 'RPO. What an instance has done since its newest good backup, by plan.',
        shows: { 'max by (plan) (mesh_backup_unsaved_oldest_seconds)': '{{plan}}' },
      },
      {
        title: 'Instances later than promised, or unproved',
        kind: 'timeseries',
        unit: 'short',
        says: 'Which they are the API says.',
        shows: {
          'max by (plan) (mesh_backup_instances_late)': '{{plan}} late',
          'max by (plan) (mesh_backup_instances_unproved)': '{{plan}} unproved',
        },
      },
      {
        title: 'Backups by state',
        kind: 'timeseries',
        unit: 'short',
        shows: {
          'max by (state) (mesh_backups)': '{{state}}',
          'max(mesh_backups_held)': 'held',
          'max(mesh_backups_bad)': 'found bad within a day',
        },
      },
      {
        title: 'Ends of backups',
        kind: 'timeseries',
        unit: 'ops',
        shows: { [rate('mesh_backup_outcomes_total', '', 'why, outcome')]: '{{why}} {{outcome}}' },
      },
      {
        title: 'Time of a backup, one in twenty is slower',
        kind: 'timeseries',
        unit: 's',
        says: 'From when it was asked for, with the wait for its turn.',
        shows: { [p95('mesh_backup_duration_seconds', '', 'outcome')]: '{{outcome}}' },
      },
      {
        title: 'Saved',
        kind: 'timeseries',
        unit: 'bytes',
        says: 'What complete backups hold, in a second: files of earlier ones too.',
        shows: { [rate('mesh_backup_saved_bytes_total', '', 'what')]: '{{what}}' },
      },
      {
        title: 'Proofs',
        kind: 'timeseries',
        unit: 'ops',
        shows: { [rate('mesh_proof_outcomes_total', '', 'depth, outcome')]: '{{depth}} {{outcome}}' },
      },
      {
        title: 'Restores: running, and ends within an hour',
        kind: 'timeseries',
        unit: 'short',
        shows: {
          'max by (mode) (mesh_restores_running)': '{{mode}} running',
          'sum by (mode, outcome) (increase(mesh_restore_outcomes_total[1h]))': '{{mode}} {{outcome}}',
        },
      },
      {
        title: 'The oldest: waiting, restoring, expiring, snapshot on a shard',
        kind: 'timeseries',
        unit: 's',
        shows: {
          'max(mesh_backups_waiting_oldest_seconds)': 'backup that waits',
          'max(mesh_restores_oldest_seconds)': 'restore that runs',
          'max(mesh_backups_expiring_oldest_seconds)': 'backup whose time is over',
          'max by (shard) (mesh_shard_snapshot_oldest_seconds)': 'snapshot on {{shard}}',
        },
      },
    ],
  },
  {
    title: 'API',
    panels: [
      {
        title: 'Requests',
        kind: 'timeseries',
        unit: 'reqps',
        shows: {
          [rate('mesh_http_requests_total', 'job="api-gateway"', 'route, method, status')]:
            '{{method}} {{route}} {{status}}',
        },
      },
      {
        title: 'Failed by our fault',
        kind: 'timeseries',
        unit: 'percentunit',
        shows: { 'mesh:http_requests:error_ratio_5m': '5xx' },
      },
      {
        title: 'Time of an answer, one in twenty is slower',
        kind: 'timeseries',
        unit: 's',
        shows: {
          [p95('mesh_http_request_duration_seconds', 'job="api-gateway"', 'route')]: '{{route}}',
          'mesh:http_request_duration_seconds:p95_5m': 'all of /v1',
        },
      },
    ],
  },
  {
    title: 'Cluster',
    panels: [
      {
        title: 'Calls',
        kind: 'timeseries',
        unit: 'reqps',
        shows: { [rate('kubernetes_client_call_seconds_count', '', 'job, verb, kind')]: '{{job}} {{verb}} {{kind}}' },
      },
      {
        title: 'Calls by answer',
        kind: 'timeseries',
        unit: 'reqps',
        says: '0: no answer. 404, 409 are answers; 429 asks for patience.',
        shows: { [rate('kubernetes_client_call_seconds_count', '', 'job, code')]: '{{job}} {{code}}' },
      },
      {
        title: 'Calls that failed',
        kind: 'timeseries',
        unit: 'percentunit',
        shows: { 'job:kubernetes_client_calls:error_ratio_5m': '{{job}}' },
      },
      {
        title: 'Time of a call, one in twenty is slower',
        kind: 'timeseries',
        unit: 's',
        shows: { [p95('kubernetes_client_call_seconds', 'verb!="watch"', 'job, verb')]: '{{job}} {{verb}}' },
      },
    ],
  },
  {
    title: 'Processes',
    panels: [
      {
        title: 'Memory',
        kind: 'timeseries',
        unit: 'bytes',
        shows: {
          [`process_resident_memory_bytes{${services}}`]: '{{job}} {{instance}}',
          [`nodejs_heap_used_bytes{${services}}`]: '{{job}} {{instance}} heap',
        },
      },
      {
        title: 'Cores',
        kind: 'timeseries',
        unit: 'short',
        shows: { [`rate(process_cpu_seconds_total{${services}}[$__rate_interval])`]: '{{job}} {{instance}}' },
      },
      {
        title: 'Event loop late, one turn in a hundred',
        kind: 'timeseries',
        unit: 's',
        shows: { [`nodejs_eventloop_delay_seconds{${services}}`]: '{{job}} {{instance}}' },
      },
      {
        title: 'Age of the figures that are asked for',
        kind: 'timeseries',
        unit: 's',
        says: 'Normally about ten seconds.',
        shows: { 'time() - max by (job, figures) (mesh_figures_seen_timestamp_seconds)': '{{job}} {{figures}}' },
      },
      {
        title: 'Started',
        kind: 'timeseries',
        unit: 'short',
        says: 'How often within a quarter of an hour.',
        shows: { [`changes(process_start_time_seconds{${services}}[15m])`]: '{{job}} {{instance}}' },
      },
    ],
  },
];

const width = 24;
const panelsInRow = 3;
const panelHeight = 8;
const datasource = { type: 'prometheus', uid: '$datasource' };

/** Every expression of the dashboard, for checks. */
export const expressions: readonly string[] = rows.flatMap(({ panels }) =>
  panels.flatMap(({ shows }) => Object.keys(shows)),
);

/** As Grafana imports it. The data source is a variable, and nothing has a number of one Grafana alone. */
export function dashboard(): object {
  let id = 0;
  let y = 0;
  const panels = rows.flatMap((row) => {
    const header = {
      id: ++id,
      type: 'row',
      title: row.title,
      collapsed: false,
      panels: [],
      gridPos: at(0, y, width, 1),
    };
    y += 1;
    const placed = row.panels.map((panel, i) => {
      const w = width / panelsInRow;
      const line = Math.floor(i / panelsInRow);
      return panelOf(panel, ++id, at((i % panelsInRow) * w, y + line * panelHeight, w, panelHeight));
    });
    y += Math.ceil(row.panels.length / panelsInRow) * panelHeight;
    return [header, ...placed];
  });
  return {
    uid: 'odoo-mesh',
    title: 'Odoo Mesh',
    tags: ['odoo-mesh'],
    schemaVersion: 39,
    version: 1,
    editable: false,
    refresh: '30s',
    time: { from: 'now-3h', to: 'now' },
    timezone: '',
    templating: {
      list: [{ name: 'datasource', label: 'Prometheus', type: 'datasource', query: 'prometheus', hide: 0 }],
    },
    panels,
  };
}

function panelOf({ title, kind, unit, says, shows }: Panel, id: number, gridPos: object): object {
  return {
    id,
    type: kind,
    title,
    ...(says && { description: says }),
    datasource,
    gridPos,
    fieldConfig: {
      defaults: { unit, min: 0, ...(kind === 'timeseries' && { custom: { fillOpacity: 10, showPoints: 'never' } }) },
      overrides: [],
    },
    options:
      kind === 'stat'
        ? { reduceOptions: { calcs: ['lastNotNull'] }, textMode: 'value_and_name' }
        : { legend: { displayMode: 'list', placement: 'bottom' }, tooltip: { mode: 'multi', sort: 'desc' } },
    targets: Object.entries(shows).map(([expr, legendFormat], i) => ({
      refId: String.fromCharCode(65 + i),
      datasource,
      expr,
      legendFormat,
    })),
  };
}

function at(x: number, y: number, w: number, h: number): object {
  return { x, y, w, h };
}
