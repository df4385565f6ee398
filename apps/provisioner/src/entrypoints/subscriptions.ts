import {
  BackupSnapshotsRemoved,
  FootprintPlaced,
  FootprintRemovalRequested,
  InstancePlaced,
  InstanceProvisioningCancelRequested,
  InstanceProvisionRetryRequested,
  InstancePurgeApproved,
  InstanceStateChanged,
  RepublishRequested,
} from '#contracts/index.js';
import { on, RepublishHandler } from '#messaging/index.js';
import { CancelProvisioningHandler } from '../application/cancel-provisioning.handler.js';
import { MakeFootprintHandler } from '../application/make-footprint.handler.js';
import { NoteResidenceHandler } from '../application/note-residence.handler.js';
import { NoteSnapshotsRemovedHandler } from '../application/note-snapshots-removed.handler.js';
import { ProvisionInstanceHandler } from '../application/provision-instance.handler.js';
import { RemoveFootprintHandler } from '../application/remove-footprint.handler.js';
import { RemoveUnwantedHandler } from '../application/remove-unwanted.handler.js';
import { RetryProvisioningHandler } from '../application/retry-provisioning.handler.js';

/** All that the provisioner hears. */
export const subscriptions = [
  on(InstancePlaced, ProvisionInstanceHandler),
  on(FootprintPlaced, MakeFootprintHandler),
  on(FootprintRemovalRequested, RemoveUnwantedHandler),
  on(InstanceProvisionRetryRequested, RetryProvisioningHandler),
  on(InstanceProvisioningCancelRequested, CancelProvisioningHandler),
  on(InstancePurgeApproved, RemoveFootprintHandler),
  on(BackupSnapshotsRemoved, NoteSnapshotsRemovedHandler),
  on(InstanceStateChanged, NoteResidenceHandler, { batch: true }),
  on(RepublishRequested, RepublishHandler),
];
