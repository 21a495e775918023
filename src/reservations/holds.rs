//! Looking for holds: for those who look after the shop. A page of the holds of one product costs the same, however many
//! there are.

use std::sync::Arc;

use crate::catalogue::Name;
use crate::kernel::{ReservationId, UserId};
use crate::platform::Fault;
use crate::reservations::ledger::Place;
use crate::reservations::query::{Live, undone};
use crate::reservations::record::Lines;
use crate::reservations::{HoldPlace, Reservation, Reservations, Status, history_store};

/// Products of which a search without a criterion shows holds.
const ACTIVE: usize = 10;
/// How often a page that a filter left short is filled up.
const REFILLS: usize = 8;

/// Whose or which holds.
#[derive(Clone, Debug)]
pub enum HoldsOf {
    /// Those of a buyer, perhaps of one product only.
    Buyer(UserId, Option<Arc<Name>>),
    /// Those of a product.
    Product(Arc<Name>),
    /// Those of products that somebody wanted within the last minutes; one page, which nothing follows.
    Active,
}

/// A reservation that was found.
#[derive(Clone, Debug)]
pub struct FoundHold {
    /// It.
    pub reservation: Reservation,
    /// Who ended it.
    pub actor: Option<String>,
    /// Where the page behind it begins.
    pub place: HoldPlace,
}

/// The lists that the holds of a product stand in, in the order in which they are gone through.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Held,
    Pinned,
    Ended,
    Sold,
}

impl Stage {
    const ALL: [Self; 4] = [Self::Held, Self::Pinned, Self::Ended, Self::Sold];

    fn has(self, status: Option<Status>) -> bool {
        match status {
            None => true,
            Some(Status::Held) => self == Self::Held,
            Some(Status::Confirming) => self == Self::Pinned,
            Some(Status::Confirmed) => self == Self::Sold,
            Some(Status::Cancelled | Status::Expired) => self == Self::Ended,
        }
    }

    fn of(place: &HoldPlace) -> Self {
        match place {
            HoldPlace::Held { .. } | HoldPlace::Live(..) => Self::Held,
            HoldPlace::Pinned { .. } => Self::Pinned,
            HoldPlace::Ended(..) => Self::Ended,
            HoldPlace::Sold(_) => Self::Sold,
        }
    }
}

impl Reservations {
    /// Holds behind this place, at most `most`.
    pub async fn holds(
        &self,
        of: &HoldsOf,
        status: Option<Status>,
        after: Option<&HoldPlace>,
        most: usize,
    ) -> Result<Vec<FoundHold>, Fault> {
        self.reading(async {
            match of {
                HoldsOf::Buyer(user, name) => {
                    self.holds_of_buyer(user, name.as_ref(), status, after, most).await
                }
                HoldsOf::Product(name) => self.holds_of_product(name, status, after, most).await,
                HoldsOf::Active => self.holds_of_active(status, most).await,
            }
        })
        .await
    }

    /// One hold with who ended it, whoever's it is.
    pub async fn hold(&self, id: ReservationId) -> Result<Option<FoundHold>, Fault> {
        let Some(reservation) = self.get(id, None).await? else { return Ok(None) };
        let place = HoldPlace::Live(reservation.created_at, id);
        let mut found = vec![FoundHold { reservation, actor: None, place }];
        self.name_actors(&mut found).await?;
        Ok(found.pop())
    }

    async fn holds_of_active(
        &self,
        status: Option<Status>,
        most: usize,
    ) -> Result<Vec<FoundHold>, Fault> {
        let mut found = Vec::new();
        for name in self.active_products(ACTIVE).await? {
            let wanted = most.saturating_sub(found.len());
            let status = status.or(Some(Status::Held));
            found.extend(self.holds_of_product(&name, status, None, wanted).await?);
            if found.len() >= most {
                break;
            }
        }
        Ok(found)
    }

    async fn holds_of_buyer(
        &self,
        user: &UserId,
        name: Option<&Arc<Name>>,
        status: Option<Status>,
        after: Option<&HoldPlace>,
        most: usize,
    ) -> Result<Vec<FoundHold>, Fault> {
        let wanted = |found: &Reservation| {
            status.is_none_or(|status| status == found.status)
                && name.is_none_or(|name| found.items.iter().any(|item| item.product_id == name.id))
        };
        let mut found = Vec::new();
        let mut before = match after {
            Some(HoldPlace::Ended(at, id)) => Some((*at, *id)),
            _ => None,
        };
        if before.is_none() {
            for live in self.live_of(user).await? {
                let place = HoldPlace::Live(live.created_at, live.id);
                let behind = match after {
                    Some(HoldPlace::Live(at, id)) => (live.created_at, live.id) < (*at, *id),
                    _ => true,
                };
                if behind && wanted(&live) {
                    found.push(FoundHold { reservation: live, actor: None, place });
                }
            }
        }
        let over = status
            .is_none_or(|status| Stage::Ended.has(Some(status)) || Stage::Sold.has(Some(status)));
        for _ in 0..REFILLS {
            if found.len() >= most || !over {
                break;
            }
            let page = self.history_of(user, before, most).await?;
            let whole = page.len() < most;
            before = page.last().map(|last| (last.read_at, last.id)).or(before);
            for ended in page.into_iter().filter(|ended| wanted(ended)) {
                let place = HoldPlace::Ended(ended.read_at, ended.id);
                found.push(FoundHold { reservation: ended, actor: None, place });
            }
            if whole {
                break;
            }
        }
        found.truncate(most);
        self.name_actors(&mut found).await?;
        Ok(found)
    }

    async fn holds_of_product(
        &self,
        name: &Arc<Name>,
        status: Option<Status>,
        after: Option<&HoldPlace>,
        most: usize,
    ) -> Result<Vec<FoundHold>, Fault> {
        let first = after.map(Stage::of);
        let mut found = Vec::new();
        for stage in Stage::ALL {
            if !stage.has(status) || first.is_some_and(|first| stage < first) {
                continue;
            }
            let after = after.filter(|_| first == Some(stage));
            let wanted = most.saturating_sub(found.len());
            match stage {
                Stage::Held | Stage::Pinned => {
                    self.live_holds(name, stage, after, wanted, &mut found).await?;
                }
                Stage::Ended => {
                    let before = match after {
                        Some(HoldPlace::Ended(at, id)) => Some((*at, *id)),
                        _ => None,
                    };
                    let db = &self.shared.db;
                    let page = history_store::ended_of(db, name.id, status, before, wanted).await?;
                    let places = page.into_iter().map(|(id, at)| (id, HoldPlace::Ended(at, id)));
                    self.found_ended(places.collect(), &mut found).await?;
                }
                Stage::Sold => {
                    let before = match after {
                        Some(HoldPlace::Sold(movement)) => Some(*movement),
                        _ => None,
                    };
                    let page =
                        history_store::sold_of(&self.shared.db, name.id, before, wanted).await?;
                    let places = page.into_iter();
                    let places = places.map(|(id, movement)| (id, HoldPlace::Sold(movement)));
                    self.found_ended(places.collect(), &mut found).await?;
                }
            }
            if found.len() >= most {
                break;
            }
        }
        self.name_actors(&mut found).await?;
        Ok(found)
    }

    async fn found_ended(
        &self,
        page: Vec<(ReservationId, HoldPlace)>,
        found: &mut Vec<FoundHold>,
    ) -> Result<(), Fault> {
        let ids: Vec<ReservationId> = page.iter().map(|(id, _)| *id).collect();
        let mut ended =
            history_store::ended_of_these(&self.shared.db, &ids).await?.into_iter().peekable();
        for (id, place) in page {
            if let Some(reservation) = ended.next_if(|ended| ended.id == id) {
                found.push(FoundHold { reservation, actor: None, place });
            }
        }
        Ok(())
    }

    async fn live_holds(
        &self,
        name: &Arc<Name>,
        stage: Stage,
        after: Option<&HoldPlace>,
        wanted: usize,
        found: &mut Vec<FoundHold>,
    ) -> Result<(), Fault> {
        let mut place = match after {
            Some(HoldPlace::Held { score, id } | HoldPlace::Pinned { score, id }) => {
                Place { score: score.clone(), id: id.to_string() }
            }
            _ => Place::start(),
        };
        let pinned = stage == Stage::Pinned;
        let end = found.len() + wanted;
        while found.len() < end {
            let most = end - found.len();
            let page = || self.ledger.live_page(&name.sku, pinned, &place, most);
            let (now_ms, page) = self.on_sku(name, page).await?;
            let Some((last, ..)) = page.last() else { return Ok(()) };
            let next = last.clone();
            for (Place { score, .. }, id, record) in page {
                if undone(&record) || record.is_due(now_ms) {
                    continue;
                }
                let live = match record.lines {
                    Lines::One => Some(Live { id, now_ms, lines: vec![(name.clone(), record)] }),
                    Lines::Home(_) | Lines::Other => self.live(id).await?,
                };
                let Some(live) = live else { continue };
                let place = if pinned {
                    HoldPlace::Pinned { score, id }
                } else {
                    HoldPlace::Held { score, id }
                };
                found.push(FoundHold { reservation: live.view(), actor: None, place });
            }
            place = next;
        }
        Ok(())
    }

    /// Who ended those of these that have.
    async fn name_actors(&self, found: &mut [FoundHold]) -> Result<(), Fault> {
        let over = |found: &&mut FoundHold| {
            !matches!(found.reservation.status, Status::Held | Status::Confirming)
        };
        let ids: Vec<ReservationId> =
            found.iter_mut().filter(over).map(|found| found.reservation.id).collect();
        if ids.is_empty() {
            return Ok(());
        }
        let actors = history_store::actors(&self.shared.db, &ids).await?;
        for found in found.iter_mut().filter(over) {
            let id = found.reservation.id;
            found.actor = actors.iter().find(|(of, _)| *of == id).map(|(_, actor)| actor.clone());
            if found.actor.is_none() {
                // On its way into the history.
                found.actor = self.end_in_redis(id).await?.map(|(_, actor, _)| actor);
            }
        }
        Ok(())
    }
}
