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
  InstanceStateChanged,
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
const told = { every: RecordFactHandler, batch: true };

/** All that the gateway hears: much, and of each a row or two to write, so in batches. */
export const subscriptions = [
  on(InstancePlaced, ProjectPlacedHandler, told),
  on(InstanceRefused, ProjectRefusedHandler, told),
  on(InstancePlacementDeferred, ProjectDeferredHandler, told),
  onEvery(InstanceProvisioningStarted, RecordFactHandler, { batch: true }),
  on(InstanceProvisioningProgressed, ProjectProgressHandler, told),
  on(InstanceProvisioningFailed, ProjectFailedHandler, told),
  on(InstanceReady, ProjectReadyHandler, told),
  onEvery(InstanceStateChanged, RecordFactHandler, { batch: true }),
  on(InstanceTerminated, ProjectTerminatedHandler, told),
  onEvery(HostReleased, RecordFactHandler, { batch: true }),
  on(CellChanged, ProjectCellHandler, { batch: true }),
];
