import {
  InstancePlaced,
  InstancePlacementDeferred,
  InstanceProvisioningFailed,
  InstanceProvisioningProgressed,
  InstanceReady,
  InstanceRefused,
  InstanceTerminated,
} from '#contracts/index.js';
import { on } from '#messaging/index.js';
import {
  ProjectDeferredHandler,
  ProjectFailedHandler,
  ProjectPlacedHandler,
  ProjectProgressHandler,
  ProjectReadyHandler,
  ProjectRefusedHandler,
  ProjectTerminatedHandler,
} from '../application/project-instance.handlers.js';

/** All that the gateway hears. */
export const subscriptions = [
  on(InstancePlaced, ProjectPlacedHandler),
  on(InstanceRefused, ProjectRefusedHandler),
  on(InstancePlacementDeferred, ProjectDeferredHandler),
  on(InstanceProvisioningProgressed, ProjectProgressHandler),
  on(InstanceProvisioningFailed, ProjectFailedHandler),
  on(InstanceReady, ProjectReadyHandler),
  on(InstanceTerminated, ProjectTerminatedHandler),
];
