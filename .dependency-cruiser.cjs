// The arrows of the house (design: entrypoints → application → domain ← infrastructure). Each rule says why it stands.
const room = (name) => `^apps/[^/]+/src/${name}/`;
/** Starts what it has just compiled. */
const bootstrap = '^deploy/local/main\\.js$';

module.exports = {
  forbidden: [
    {
      name: 'no-app-imports-an-app',
      comment: 'Services meet only through messages, so that each can be stopped, replaced and deployed alone.',
      severity: 'error',
      from: { path: '^apps/([^/]+)/' },
      to: { path: '^apps/', pathNot: '^apps/$1/' },
    },
    {
      name: 'no-lib-imports-an-app',
      comment: 'A lib serves every service; what it needs of one service belongs into that service.',
      severity: 'error',
      from: { path: '^libs/' },
      to: { path: '^(apps|deploy|test)/' },
    },
    {
      name: 'contracts-import-only-zod',
      comment:
        'Contracts are what a stranger may read and generate code from; they must not drag in a broker or a database.',
      severity: 'error',
      from: { path: '^libs/contracts/src/', pathNot: '(\\.spec|generate)\\.ts$' },
      to: { pathNot: '^(libs/contracts/src/|node_modules/zod/)' },
    },
    {
      name: 'domain-is-pure',
      comment:
        'What is true must be readable and testable without Nest, I/O or a clock; how deadlines are counted is so for all.',
      severity: 'error',
      from: { path: room('domain'), pathNot: '\\.spec\\.ts$' },
      to: {
        pathNot: `^(apps/[^/]+/src/domain/|libs/contracts/src/|libs/odoo/src/|libs/footprints/src/deadline\\.ts$)`,
      },
    },
    {
      name: 'odoo-is-pure',
      comment: 'Manifests and odoo.conf are functions of their input; whoever applies them brings the cluster.',
      severity: 'error',
      from: { path: '^libs/odoo/src/', pathNot: '\\.spec\\.ts$' },
      to: { pathNot: '^(libs/(odoo|contracts)/src/|node_modules/(zod|@kubernetes/client-node)/|node:crypto$|crypto$)' },
    },
    {
      name: 'application-knows-no-adapter',
      comment: 'What we do is written against ports.ts; app.module.ts alone binds a port to its adapter.',
      severity: 'error',
      from: { path: room('application'), pathNot: '\\.(mesh-)?spec\\.ts$' },
      to: { path: `${room('infrastructure')}|${room('entrypoints')}` },
    },
    {
      name: 'infrastructure-does-not-drive',
      comment: 'An adapter is called; it does not decide what happens, so it knows ports and domain but no handler.',
      severity: 'error',
      from: { path: room('infrastructure'), pathNot: '\\.(mesh-)?spec\\.ts$' },
      to: { path: `${room('entrypoints')}|^apps/[^/]+/src/application/(?!ports\\.ts$)` },
    },
    {
      name: 'entrypoints-know-no-adapter',
      comment: 'What wakes us calls a handler; with what the handler works is none of its business.',
      severity: 'error',
      from: { path: room('entrypoints'), pathNot: '\\.(mesh-)?spec\\.ts$' },
      to: { path: room('infrastructure') },
    },
    {
      name: 'only-app-module-binds',
      comment:
        'Which adapter stands behind a port is decided in one file of a program, so that it can be read and changed there.',
      severity: 'error',
      from: {
        path: '^apps/[^/]+/src/(?!(domain|application|infrastructure|entrypoints)/|app\\.module\\.ts$|files-worker\\.ts$)',
        pathNot: '\\.(mesh-)?spec\\.ts$',
      },
      to: { path: room('infrastructure') },
    },
    {
      name: 'no-cycles',
      comment: 'Two files that need each other are one file or want a third.',
      severity: 'error',
      from: {},
      to: { circular: true },
    },
    {
      name: 'source-not-dist',
      comment: 'An import that resolves to dist means that the `source` condition was lost and stale code is read.',
      severity: 'error',
      from: { pathNot: bootstrap },
      to: { path: '^dist/' },
    },
    {
      name: 'resolvable',
      comment: 'An import that leads nowhere fails at run time only.',
      severity: 'error',
      from: { pathNot: bootstrap },
      to: { couldNotResolve: true },
    },
    {
      name: 'testing-stays-in-tests',
      comment: 'Test tools must not ship in a service.',
      severity: 'error',
      from: { path: '^(apps|libs)/', pathNot: '(^libs/testing/|spec\\.ts$)' },
      to: { path: '^libs/testing/' },
    },
  ],
  options: {
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    // Not `exclude`: an import that leads into dist would vanish with it, and no rule would see it.
    doNotFollow: { path: '^(node_modules|dist)/' },
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['source', 'import', 'require', 'node', 'default', 'types'],
      extensions: ['.ts', '.js', '.json'],
    },
  },
};
