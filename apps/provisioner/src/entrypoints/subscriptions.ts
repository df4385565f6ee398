import {
  InstancePlaced,
  InstanceProvisionRetryRequested,
  InstancePurgeApproved,
  RepublishRequested,
} from '#contracts/index.js';
import { on, RepublishHandler } from '#messaging/index.js';
import { ProvisionInstanceHandler } from '../application/provision-instance.handler.js';
import { RemoveFootprintHandler } from '../application/remove-footprint.handler.js';
import { RetryProvisioningHandler } from '../application/retry-provisioning.handler.js';

/** All that the provisioner hears. */
export const subscriptions = [
  on(InstancePlaced, ProvisionInstanceHandler),
  on(InstanceProvisionRetryRequested, RetryProvisioningHandler),
  on(InstancePurgeApproved, RemoveFootprintHandler),
  on(RepublishRequested, RepublishHandler),
];
