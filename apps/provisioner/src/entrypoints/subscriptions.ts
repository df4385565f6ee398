import {
  FootprintPlaced,
  FootprintRemovalRequested,
  InstancePlaced,
  InstanceProvisioningCancelRequested,
  InstanceProvisionRetryRequested,
  InstancePurgeApproved,
  RepublishRequested,
} from '#contracts/index.js';
import { on, RepublishHandler } from '#messaging/index.js';
import { CancelProvisioningHandler } from '../application/cancel-provisioning.handler.js';
import { MakeSpareHandler } from '../application/make-spare.handler.js';
import { ProvisionInstanceHandler } from '../application/provision-instance.handler.js';
import { RemoveFootprintHandler } from '../application/remove-footprint.handler.js';
import { RemoveSpareHandler } from '../application/remove-spare.handler.js';
import { RetryProvisioningHandler } from '../application/retry-provisioning.handler.js';

/** All that the provisioner hears. */
export const subscriptions = [
  on(InstancePlaced, ProvisionInstanceHandler),
  on(FootprintPlaced, MakeSpareHandler),
  on(FootprintRemovalRequested, RemoveSpareHandler),
  on(InstanceProvisionRetryRequested, RetryProvisioningHandler),
  on(InstanceProvisioningCancelRequested, CancelProvisioningHandler),
  on(InstancePurgeApproved, RemoveFootprintHandler),
  on(RepublishRequested, RepublishHandler),
];
