import { Injectable } from '@nestjs/common';
import { Log } from '#observability/index.js';
import { hostNameOf } from '../domain/host-name.js';
import { type Notice, notice, noticeOf } from '../domain/notice.js';
import { Sites } from './ports.js';

/** The instance is found at another host now. */
export interface Moved {
  readonly movedTo: string;
}

@Injectable()
export class FindNotice {
  constructor(
    private readonly sites: Sites,
    private readonly log: Log,
  ) {}

  /** @param host as the header `Host` has it. Never throws: who cannot look says so, and not that nobody is there. */
  async at(host: string | undefined): Promise<Notice | Moved> {
    const name = hostNameOf(host);
    if (name === undefined) return notice('unknown');
    try {
      const site = await this.sites.at(name);
      if (site) return noticeOf(site);
      const movedTo = hostNameOf(await this.sites.nowOf(name));
      return movedTo ? { movedTo } : notice('unknown');
    } catch (error) {
      this.log.warn('a site cannot be looked up', { host: name, error });
      return notice('untold');
    }
  }
}
