import { Controller, Get } from '@nestjs/common';
import { ApiDocument } from './open-api.js';

/** For everybody, without a key: it is the same for all. */
@Controller()
export class ReferenceController {
  constructor(private readonly document: ApiDocument) {}

  @Get('v1/openapi.json')
  openApi(): object {
    return this.document.json;
  }
}
