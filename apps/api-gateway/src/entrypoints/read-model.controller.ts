import { Controller } from '@nestjs/common';
import { RebuildReadModel } from '../application/rebuild-read-model.js';
import type { Call } from './route.js';
import { Serves } from './serves.js';
import { ReadModel } from './shapes.js';

const One = {
  id: 'getReadModel',
  method: 'get',
  path: '/v1/read-model',
  summary: 'How complete is what this API answers from',
  right: { role: 'operator', scope: 'platform' },
  status: 200,
  answer: ReadModel,
  problems: [],
} as const;

const Rebuild = {
  id: 'rebuildReadModel',
  method: 'post',
  path: '/v1/read-model/rebuild',
  summary: 'Makes the read model again from what its owners say is current',
  description:
    'It answers meanwhile; each instance is made again with the first fact that comes. Timelines are data and are not touched. May be repeated.',
  right: { role: 'admin', scope: 'platform' },
  status: 202,
  answer: ReadModel,
  problems: [],
} as const;

@Controller()
export class ReadModelController {
  constructor(private readonly readModel: RebuildReadModel) {}

  @Serves(One)
  async one(_: Call<typeof One>) {
    return await this.readModel.status();
  }

  @Serves(Rebuild)
  async rebuild(_: Call<typeof Rebuild>) {
    await this.readModel.rebuild();
    return await this.readModel.status();
  }
}
