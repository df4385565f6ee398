import {
  BackupHoldReleaseRequested,
  BackupHoldRequested,
  BackupRequested,
  FootprintFailed,
  FootprintReady,
  FootprintRefused,
  FootprintRemovalRefused,
  FootprintRemoved,
  InstanceOperationFailed,
  InstanceOperationRefused,
  InstancePlaced,
  InstancePurgeApproved,
  InstanceQuiesced,
  InstanceRefused,
  InstanceReleased,
  InstanceStateChanged,
  RepublishRequested,
  RestoreRequested,
} from '#contracts/index.js';
import { on, RepublishHandler } from '#messaging/index.js';
import { HoldBackupHandler, ReleaseBackupHandler } from '../application/hold-backup.handlers.js';
import * as instances from '../application/instance-facts.handlers.js';
import { RequestBackupHandler } from '../application/request-backup.handler.js';
import { RequestRestoreHandler } from '../application/request-restore.handler.js';
import * as answers from '../application/restore-facts.handlers.js';

/** All that backup hears. */
export const subscriptions = [
  on(BackupRequested, RequestBackupHandler),
  on(RestoreRequested, RequestRestoreHandler),
  on(BackupHoldRequested, HoldBackupHandler),
  on(BackupHoldReleaseRequested, ReleaseBackupHandler),
  on(InstancePlaced, instances.KnowInstanceHandler),
  on(InstanceStateChanged, instances.FollowInstanceHandler, { batch: true }),
  on(InstanceQuiesced, instances.StandBackHandler),
  on(InstanceReleased, instances.GoOnHandler),
  on(FootprintReady, instances.KnowFootprintHandler),
  on(InstancePurgeApproved, instances.ClearSnapshotsHandler),
  on(FootprintRefused, answers.HearOfNoFootprintHandler),
  on(FootprintFailed, answers.HearOfFailedFootprintHandler),
  on(FootprintRemoved, answers.HearOfRemovedFootprintHandler),
  on(FootprintRemovalRefused, answers.LeaveFootprintHandler),
  on(InstanceRefused, answers.DropCloneHandler),
  on(InstanceOperationRefused, answers.HearOfRefusalHandler),
  on(InstanceOperationFailed, answers.HearOfFailureHandler),
  on(RepublishRequested, RepublishHandler),
];
