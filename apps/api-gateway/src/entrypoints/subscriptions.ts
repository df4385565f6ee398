import {
  CellChanged,
  HostReleased,
  InstancePlaced,
  InstancePlacementDeferred,
  InstanceProvisioningFailed,
  InstanceProvisioningProgressed,
  InstanceProvisioningStarted,
  InstanceReady,
  InstanceRefused,
  InstanceTerminated,
} from '#contracts/index.js';
import { on, onEvery } from '#messaging/index.js';
import { ProjectCellHandler } from '../application/project-cell.handler.js';
import {
  ProjectDeferredHandler,
  ProjectFailedHandler,
  ProjectPlacedHandler,
  ProjectProgressHandler,
  ProjectReadyHandler,
  ProjectRefusedHandler,
  ProjectTerminatedHandler,
} from '../application/project-instance.handlers.js';
import { RecordFactHandler } from '../application/record-fact.handler.js';

/** Each fact gets its line of the timeline too. */
const told = { every: RecordFactHandler };

/** All that the gateway hears. */
export const subscriptions = [
  on(InstancePlaced, ProjectPlacedHandler, told),
  on(InstanceRefused, ProjectRefusedHandler, told),
  on(InstancePlacementDeferred, ProjectDeferredHandler, told),
  onEvery(InstanceProvisioningStarted, RecordFactHandler),
  on(InstanceProvisioningProgressed, ProjectProgressHandler, told),
  on(InstanceProvisioningFailed, ProjectFailedHandler, told),
  on(InstanceReady, ProjectReadyHandler, told),
  on(InstanceTerminated, ProjectTerminatedHandler, told),
  onEvery(HostReleased, RecordFactHandler),
  on(CellChanged, ProjectCellHandler),
];
