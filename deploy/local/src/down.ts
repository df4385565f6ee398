import type { LocalConfig } from './config.js';
export const down = {
  help: '',
  async run(_c: LocalConfig, _a: readonly string[]): Promise<number> {
    return 0;
  },
};
