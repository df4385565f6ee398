import type { LocalConfig } from './config.js';
export const test = {
  help: '',
  async run(_c: LocalConfig, _a: readonly string[]): Promise<number> {
    return 0;
  },
};
