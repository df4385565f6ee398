import { ApiKeysController } from './api-keys.controller.js';
import { BackupsController } from './backups.controller.js';
import { CellsController } from './cells.controller.js';
import { EventsController } from './events.controller.js';
import { InstanceActionsController } from './instance-actions.controller.js';
import { InstancesController } from './instances.controller.js';
import { OperationsController } from './operations.controller.js';
import { ParkedController } from './parked.controller.js';
import { ReadModelController } from './read-model.controller.js';
import { ReferenceController } from './reference.controller.js';
import { RestoresController } from './restores.controller.js';

/** All that the API serves. */
export const controllers = [
  InstancesController,
  InstanceActionsController,
  BackupsController,
  RestoresController,
  OperationsController,
  EventsController,
  CellsController,
  ParkedController,
  ReadModelController,
  ApiKeysController,
  ReferenceController,
];
