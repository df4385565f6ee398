// Lanes: unit (no process), mesh (broker, database, control plane from the environment), e2e (the services as processes),
// reliability (faults on the way and of our processes), outage (kills the stack's servers, or fills them: one file at a
// time), node (pods that run), node-outage (kills what they run on, or opens it to all: one file at a time). `npm test`
// runs them in this order; unit needs no stack, the last two have one of their own.
const lane = (displayName, testMatch) => ({
  displayName,
  testMatch,
  testEnvironment: 'node',
  // Resolves '#lib/x.js' to the TypeScript source; with `exportConditions` jest would silently take a stale dist.
  testEnvironmentOptions: { customExportConditions: ['source', 'node', 'node-addons'] },
  extensionsToTreatAsEsm: ['.ts'],
  transform: { '^.+\\.ts$': ['@swc/jest'] },
  moduleNameMapper: { '^(\\.{1,2}/.*)\\.js$': '$1' },
  modulePathIgnorePatterns: ['<rootDir>/dist/'],
});

export default {
  maxWorkers: 2,
  testSequencer: '<rootDir>/test/sequencer.js',
  // Not a measure: each wait in a test has its own limit and says what it waited for. (Only global, jest ignores it per lane.)
  testTimeout: 180_000,
  coverageProvider: 'v8',
  projects: [
    lane('unit', ['<rootDir>/{apps,libs,deploy,test}/**/*.spec.ts']),
    lane('mesh', ['<rootDir>/{apps,libs,deploy,test}/**/*.mesh-spec.ts']),
    lane('e2e', ['<rootDir>/test/**/*.e2e-spec.ts']),
    lane('reliability', ['<rootDir>/test/**/*.reliability-spec.ts']),
    lane('outage', ['<rootDir>/test/**/*.outage-spec.ts']),
    lane('node', ['<rootDir>/test/**/*.node-spec.ts']),
    lane('node-outage', ['<rootDir>/test/**/*.node-outage-spec.ts']),
  ],
};
