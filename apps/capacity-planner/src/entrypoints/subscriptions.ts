import {
  FootprintReady,
  FootprintRemovalRefused,
  FootprintRemoved,
  FootprintRequested,
  HostReleaseRequested,
  HostReservationRequested,
  InstanceRequested,
  InstanceStateChanged,
  InstanceTerminated,
  PlacementChangeRequested,
  RepublishRequested,
  RestoreCompleted,
  TemplatePublished,
} from '#contracts/index.js';
import { on, RepublishHandler } from '#messaging/index.js';
import { ChangePlacementHandler } from '../application/change-placement.handler.js';
import { FollowSwitchHandler } from '../application/follow-switch.handler.js';
import { KeepSpareHandler } from '../application/keep-spare.handler.js';
import { LearnTemplateHandler } from '../application/learn-template.handler.js';
import { NoteSpareHandler } from '../application/note-spare.handler.js';
import { PlaceCloneHandler } from '../application/place-clone.handler.js';
import { PlaceFootprintHandler } from '../application/place-footprint.handler.js';
import { PlaceInstanceHandler } from '../application/place-instance.handler.js';
import { ReleaseFootprintHandler } from '../application/release-footprint.handler.js';
import { ReleaseHostHandler } from '../application/release-host.handler.js';
import { ReleasePlacementHandler } from '../application/release-placement.handler.js';
import { ReserveHostHandler } from '../application/reserve-host.handler.js';

/** All that the planner hears. */
export const subscriptions = [
  on(InstanceRequested, PlaceInstanceHandler),
  on(PlacementChangeRequested, ChangePlacementHandler),
  on(HostReservationRequested, ReserveHostHandler),
  on(HostReleaseRequested, ReleaseHostHandler),
  on(TemplatePublished, LearnTemplateHandler),
  on(InstanceTerminated, ReleasePlacementHandler),
  on(FootprintReady, NoteSpareHandler),
  on(FootprintRequested, PlaceFootprintHandler),
  on(FootprintRemoved, ReleaseFootprintHandler),
  on(FootprintRemovalRefused, KeepSpareHandler),
  on(InstanceStateChanged, FollowSwitchHandler, { batch: true }),
  on(RestoreCompleted, PlaceCloneHandler),
  on(RepublishRequested, RepublishHandler),
];
