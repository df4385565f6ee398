import { parseEnv, type StackEnv } from '#local/env-file.js';

/** The stack of this test run and the Python for foreign publishers. The only place of test/ that reads the environment. */
export function stackEnvironment(environment: NodeJS.ProcessEnv = process.env): StackEnv & { MESH_PYTHON?: string } {
  const text = Object.entries(environment)
    .filter(([name]) => name.startsWith('MESH_'))
    .map(([name, value]) => `${name}=${value}\n`)
    .join('');
  const python = environment.MESH_PYTHON;
  try {
    return { ...parseEnv(text), ...(python && { MESH_PYTHON: python }) };
  } catch (error) {
    throw new Error(`this test needs the local stack: run it with npm test (${(error as Error).message})`);
  }
}

/** Whether the programs of faults run in their long form (`npm run chaos`). */
export function longForm(environment: NodeJS.ProcessEnv = process.env): boolean {
  return environment.MESH_CHAOS === 'long';
}

/** From which random programs draw: of the environment, so that one that failed can be had again, or a new one. */
export function seedOfThisRun(environment: NodeJS.ProcessEnv = process.env) {
  const given = environment.MESH_SEED;
  return { seed: given ? Number(given) : Math.trunc(Math.random() * 2 ** 31), chosen: given !== undefined };
}
