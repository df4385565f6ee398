import {
  FootprintReady,
  FootprintRemoved,
  HostReleaseRequested,
  HostReservationRequested,
  InstanceRequested,
  InstanceTerminated,
  PlacementChangeRequested,
  RepublishRequested,
  TemplatePublished,
} from '#contracts/index.js';
import { on, RepublishHandler } from '#messaging/index.js';
import { ChangePlacementHandler } from '../application/change-placement.handler.js';
import { LearnTemplateHandler } from '../application/learn-template.handler.js';
import { NoteSpareHandler } from '../application/note-spare.handler.js';
import { PlaceInstanceHandler } from '../application/place-instance.handler.js';
import { ReleaseHostHandler } from '../application/release-host.handler.js';
import { ReleasePlacementHandler } from '../application/release-placement.handler.js';
import { ReleaseSpareHandler } from '../application/release-spare.handler.js';
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
  on(FootprintRemoved, ReleaseSpareHandler),
  on(RepublishRequested, RepublishHandler),
];
