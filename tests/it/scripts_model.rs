//! What the scripts must do, in plain Rust: one SKU that keeps only what cannot be derived. Counters and indexes follow
//! from the records, so whatever a script books wrongly differs from here.

use std::collections::BTreeMap;

use crate::scripts_bench::{Dump, minutes};

/// The TTL of products that say none, and the one of lines that wait for the others.
pub const DEFAULT_TTL: i64 = 600_000;
pub const SHORT_TTL: i64 = 120_000;

/// One call of a script, or something that happens to Redis.
#[derive(Clone, Debug)]
pub enum Op {
    Reserve {
        tolerance: i64,
        wants: Vec<Want>,
    },
    Arm {
        rid: &'static str,
        ms: i64,
    },
    Pin {
        rid: &'static str,
        user: &'static str,
        expected: i64,
    },
    /// The same while somebody wants to hear of holds.
    Heard(Box<Op>),
    /// Several of one kind in one call.
    Batch(Vec<Op>),
    Settle {
        rid: &'static str,
        confirmed: bool,
        token: char,
        qty: i64,
    },
    Grab {
        rid: &'static str,
        token: char,
        qty: i64,
    },
    Late {
        rid: &'static str,
        user: &'static str,
        token: char,
        qty: i64,
    },
    /// The stock after a movement; its version is relative to what stands.
    ApplyStock {
        stocked: i64,
        returned: i64,
        ver: i64,
        taken: Vec<&'static str>,
        backs: Vec<(&'static str, i64)>,
    },
    Cancel {
        rid: &'static str,
        user: &'static str,
        interval: i64,
    },
    Extend {
        rid: &'static str,
        user: &'static str,
        count: i64,
        ms: i64,
    },
    Retime {
        rids: Vec<&'static str>,
        ttl: i64,
        life: i64,
    },
    Expire {
        most: usize,
    },
    ClaimPins {
        grace: i64,
        most: usize,
    },
    Ended {
        age: i64,
        most: usize,
    },
    Forget(Vec<&'static str>),
    Find {
        user: &'static str,
    },
    Read(Vec<&'static str>),
    Audit,
    Weigh {
        most: i64,
    },
    Pinned {
        most: usize,
    },
    /// The terms that such a rebuild would bring, with `idle` only if nothing is held.
    Terms {
        idle: bool,
        with: Rebuild,
    },
    /// The claim of a rebuild whose epoch is so much later than the last.
    Claim(i64),
    Rebuild(Rebuild),
    /// Time goes by.
    Pass(i64),
    /// A pinned record of any kind.
    Plant {
        rid: &'static str,
        kind: char,
        user: &'static str,
        qty: i64,
    },
    /// Redis loses something, or somebody meddles with it.
    Lose(Loss),
}

impl Op {
    /// The script that is called, if one is.
    pub fn script(&self) -> Option<&'static str> {
        Some(match self {
            Self::Reserve { .. } => "reserve",
            Self::Arm { .. } => "arm",
            Self::Pin { .. } => "pin",
            Self::Settle { .. } => "settle",
            Self::Heard(op) => return op.script(),
            Self::Batch(ops) => return ops.first()?.script(),
            Self::Grab { .. } => "grab",
            Self::Late { .. } => "late",
            Self::ApplyStock { .. } => "apply_stock",
            Self::Cancel { .. } => "cancel",
            Self::Extend { .. } => "extend",
            Self::Retime { .. } => "retime",
            Self::Expire { .. } => "expire",
            Self::ClaimPins { .. } => "claim_pins",
            Self::Ended { .. } => "ended",
            Self::Forget(_) => "forget",
            Self::Find { .. } => "find",
            Self::Read(_) => "read",
            Self::Audit => "audit",
            Self::Weigh { .. } => "weigh",
            Self::Pinned { .. } => "pinned",
            Self::Terms { .. } => "terms",
            Self::Claim(_) => "claim",
            Self::Rebuild(_) => "rebuild",
            Self::Pass(_) | Self::Plant { .. } | Self::Lose(_) => return None,
        })
    }
}

/// The reply to a batch whose requests alone would be replied to so.
fn several(batch: &Op, replies: &[String]) -> String {
    let mut answers = replies.join(" ");
    if batch.script() == Some("settle") {
        answers = answers.replace(['{', '}'], "");
    }
    format!("{{0 {answers}}}")
}

/// What of the reply to a batch of one is the answer.
pub fn only(batch: &Op, reply: &str) -> String {
    match reply.strip_prefix("{0 ").and_then(|rest| rest.strip_suffix('}')) {
        Some(answer) if batch.script() == Some("settle") => format!("{{{answer}}}"),
        Some(answer) => answer.to_owned(),
        None => reply.to_owned(),
    }
}

/// One request of a batch.
#[derive(Clone, Debug)]
pub struct Want {
    pub rid: &'static str,
    pub token: char,
    pub user: &'static str,
    pub qty: i64,
    pub ttl: i64,
    pub lines: &'static str,
}

/// What a rebuild is told. Epoch and versions are relative to what stands.
#[derive(Clone, Debug)]
pub struct Rebuild {
    /// Whether it claims the SKU first.
    pub claims: bool,
    /// How many staged buyers were lost on the way.
    pub missing: usize,
    pub epoch: i64,
    pub stocked: i64,
    pub sold: i64,
    pub returned: i64,
    pub ver: i64,
    pub ttl: i64,
    pub cap: i64,
    pub opens_in: i64,
    pub closes_in: i64,
    pub sale: &'static str,
    pub terms: i64,
    pub decided: Vec<(&'static str, &'static str)>,
    pub pending: Vec<(&'static str, char, i64, &'static str)>,
    pub staged: Vec<(&'static str, i64, i64)>,
}

/// What is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    Ready,
    Stock,
    Indexes,
    Buyers,
    Records,
    Everything,
    /// Keys of other types, records that nobody can read.
    Garbage,
}

#[derive(Clone, Debug)]
pub struct Record {
    state: char,
    kind: char,
    qty: i64,
    token: String,
    deadline: i64,
    created: i64,
    ext: i64,
    cap: i64,
    lines: String,
    user: String,
    email: String,
    end: Option<(String, i64, String)>,
    pinned_at: i64,
}

impl Record {
    fn packed(&self) -> String {
        let Self {
            state, kind, qty, token, deadline, created, ext, cap, lines, user, email, ..
        } = self;
        let live = format!(
            "{state} {kind} {qty} {token} {deadline} {created} {ext} {cap} {lines} {user} {email}"
        );
        match &self.end {
            Some((reason, at, actor)) => format!("{live} {reason} {at} {actor}"),
            None => live,
        }
    }

    fn live(&self) -> bool {
        self.state == 'H' || self.state == 'P'
    }

    fn ended_at(&self) -> i64 {
        self.end.as_ref().map_or(0, |end| end.1)
    }
}

#[derive(Clone, Debug, Default)]
struct Buyer {
    slot: Option<String>,
    bought: i64,
    back: i64,
    last: Option<String>,
}

/// One SKU.
#[derive(Clone, Debug)]
pub struct Model {
    pub now: i64,
    /// Scripts answer; otherwise all but the rebuild ask for one.
    pub open: bool,
    /// The stock hash is there, open or not.
    stored: bool,
    pub epoch: i64,
    claim: i64,
    stocked: i64,
    sold: i64,
    returned: i64,
    pub ver: i64,
    ttl: i64,
    cap: i64,
    opens_at: i64,
    closes_at: i64,
    sale: String,
    terms: i64,
    records: BTreeMap<String, Record>,
    buyers: BTreeMap<String, Buyer>,
    timers: BTreeMap<String, (String, i64)>,
    churn: BTreeMap<String, (i64, i64)>,
    furthest_churn: Option<i64>,
    rivals: BTreeMap<String, Rivals>,
    /// Somebody wants to hear of holds.
    heard: bool,
    /// What they were told.
    news: Vec<String>,
}

/// Holds of one buyer with the same right to the slot: whether they are restored and pinned, and which.
type Rivals = ((bool, bool), Vec<String>);

impl Model {
    pub fn new(now: i64) -> Self {
        Self {
            now,
            open: false,
            stored: false,
            epoch: 0,
            claim: -1,
            stocked: 0,
            sold: 0,
            returned: 0,
            ver: 1,
            ttl: 0,
            cap: 0,
            opens_at: 0,
            closes_at: 0,
            sale: String::new(),
            terms: 1,
            records: BTreeMap::new(),
            buyers: BTreeMap::new(),
            timers: BTreeMap::new(),
            churn: BTreeMap::new(),
            furthest_churn: None,
            rivals: BTreeMap::new(),
            heard: false,
            news: Vec::new(),
        }
    }

    /// Whether there is a record of this id.
    pub fn knows(&self, rid: &str) -> bool {
        self.records.contains_key(rid)
    }

    fn held(&self) -> i64 {
        self.records.values().filter(|r| r.live()).map(|r| r.qty).sum()
    }

    fn avail(&self) -> i64 {
        self.stocked - self.sold - self.held()
    }

    fn live_units(&self, user: &str) -> i64 {
        let own = |r: &&Record| r.live() && r.user == user && r.kind != 'o';
        self.records.values().filter(own).map(|r| r.qty).sum()
    }

    fn due(&self, r: &Record) -> bool {
        r.state == 'H' && r.deadline <= self.now
    }

    fn buyer(&self, user: &str) -> Buyer {
        self.buyers.get(user).cloned().unwrap_or_default()
    }

    /// An index: what a record of this state is sorted by, in that order.
    fn index(&self, kind: char) -> Vec<(i64, String)> {
        let mut index: Vec<_> = self
            .records
            .iter()
            .filter_map(|(rid, r)| {
                let score = match (kind, r.state) {
                    ('d', 'H') => r.deadline,
                    ('p', 'P') => r.pinned_at,
                    ('g', 'S' | 'E') => r.ended_at(),
                    _ => return None,
                };
                Some((score, rid.clone()))
            })
            .collect();
        index.sort();
        index
    }

    fn first(&self, kind: char) -> i64 {
        self.index(kind).first().map_or(0, |(score, _)| *score)
    }

    /// What the keys hold when Redis agrees.
    pub fn dump(&self) -> Dump {
        let mut dump = Dump::new();
        let mut put = |name: String, value: String| dump.insert(name, value);
        let (held, avail) = (self.held(), self.avail());
        for (field, value) in [
            ("ready", 1),
            ("epoch", self.epoch),
            ("claim", self.claim),
            ("stocked", self.stocked),
            ("returned", self.returned),
            ("ver", self.ver),
            ("sold", self.sold),
            ("held", held),
            ("avail", avail),
            ("ttl_ms", self.ttl),
            ("cap", self.cap),
            ("opens_at", self.opens_at),
            ("closes_at", self.closes_at),
            ("terms", self.terms),
        ] {
            put(format!("s {field}"), value.to_string());
        }
        put("s sale".to_owned(), self.sale.clone());
        if let Some(at) = self.furthest_churn {
            put("s churn".to_owned(), at.to_string());
        }
        for (rid, record) in &self.records {
            put(format!("h {rid}"), record.packed());
        }
        for kind in ['d', 'p', 'g'] {
            for (score, rid) in self.index(kind) {
                put(format!("{kind} {rid}"), score.to_string());
            }
        }
        for (user, buyer) in &self.buyers {
            let dash = |rid: &Option<String>| rid.clone().unwrap_or_else(|| "-".to_owned());
            let (slot, last) = (dash(&buyer.slot), dash(&buyer.last));
            let live = self.live_units(user);
            if (slot.as_str(), last.as_str(), live, buyer.bought, buyer.back) != ("-", "-", 0, 0, 0)
            {
                let packed = format!("{slot} {live} {} {} {last}", buyer.bought, buyer.back);
                put(format!("b {user}"), packed);
            }
        }
        for (rid, (token, ttl)) in &self.timers {
            put(format!("t {rid}"), format!("{token} {}", minutes(*ttl)));
        }
        for (at, news) in self.news.iter().enumerate() {
            put(format!("n {at:03}"), news.clone());
        }
        for (user, (at, ttl)) in &self.churn {
            put(format!("c {user}"), format!("{at} {}", minutes(*ttl)));
        }
        dump
    }

    /// Does what the script does, and answers what it answers.
    pub fn apply(&mut self, op: &Op) -> String {
        match op {
            Op::Heard(op) => {
                self.heard = true;
                let reply = self.apply(op);
                self.heard = false;
                return reply;
            }
            Op::Claim(later) => return self.claim(self.epoch + later),
            Op::Rebuild(with) if with.claims => {
                return format!("{} {}", self.claim(self.after(with).0), self.rebuild(with));
            }
            Op::Rebuild(with) => return self.rebuild(with),
            Op::Pass(ms) => {
                self.now += ms;
                return String::new();
            }
            Op::Plant { rid, kind, user, qty } => {
                self.plant(rid, *kind, user, *qty);
                return String::new();
            }
            Op::Lose(loss) => {
                self.lose(*loss);
                return String::new();
            }
            _ if !self.open => return "{100}".to_owned(),
            _ => {}
        }
        let now = self.now;
        match op {
            Op::Reserve { tolerance, wants } => {
                let answers: Vec<_> =
                    wants.iter().map(|want| self.reserve(want, *tolerance)).collect();
                format!("{{0 {now} {} {}}}", self.first('d'), answers.join(" "))
            }
            Op::Arm { rid, ms } => self.arm(rid, now + ms),
            Op::Pin { rid, user, expected } => self.pin(rid, user, *expected),
            Op::Batch(ops) => {
                let replies: Vec<String> = ops.iter().map(|op| self.apply(op)).collect();
                if self.open { several(op, &replies) } else { replies[0].clone() }
            }
            Op::Settle { rid, confirmed, token, qty } => {
                self.settle(rid, *confirmed, &secret(rid, *token), *qty)
            }
            Op::Grab { rid, token, qty } => self.grab(rid, &secret(rid, *token), *qty),
            Op::Late { rid, user, token, qty } => self.late(rid, user, &secret(rid, *token), *qty),
            Op::ApplyStock { stocked, returned, ver, taken, backs } => {
                if *ver > 0 {
                    (self.stocked, self.returned) = (*stocked, *returned);
                    self.ver += ver;
                }
                for rid in taken {
                    if self.records.get(*rid).is_some_and(Record::live) {
                        self.close(rid, 'E', "out", "service");
                    }
                }
                for (user, back) in backs {
                    let buyer = self.buyers.entry((*user).to_owned()).or_default();
                    buyer.back = buyer.back.max(*back);
                }
                "{0}".to_owned()
            }
            Op::Cancel { rid, user, interval } => self.cancel(rid, user, *interval),
            Op::Extend { rid, user, count, ms } => self.extend(rid, user, *count, now + ms),
            Op::Retime { rids, ttl, life } => self.retime(rids, *ttl, *life),
            Op::Expire { most } => {
                let (count, lag) = self.reap(*most);
                format!("{{0 {count} {lag} {} {now}}}", self.first('d'))
            }
            Op::ClaimPins { grace, most } => self.claim_pins(*grace, *most),
            Op::Ended { age, most } => {
                let old = self.index('g').into_iter().filter(|(at, _)| *at <= now - age);
                let list = old.take(*most);
                let list = list.map(|(_, rid)| format!(" {rid} {}", self.records[&rid].packed()));
                format!("{{0 {}{}}}", self.first('g'), list.collect::<String>())
            }
            Op::Forget(rids) => self.forget(rids),
            Op::Find { user } => {
                let buyer = self.buyer(user);
                match buyer.slot.or(buyer.last) {
                    Some(rid) => format!("{{0 {now} {rid} {}}}", self.records[&rid].packed()),
                    None => "{1}".to_owned(),
                }
            }
            Op::Read(rids) => {
                let read = |rid: &&str| {
                    self.records.get(*rid).map_or_else(|| "''".to_owned(), Record::packed)
                };
                format!("{{0 {now} {}}}", rids.iter().map(read).collect::<Vec<_>>().join(" "))
            }
            Op::Audit => {
                let pins = self.records.values().filter(|r| r.state == 'P');
                let pinned: i64 = pins.map(|r| r.qty).sum();
                let live = self.records.values().filter(|r| r.live()).count();
                let hidden = i32::from(self.sale == "hidden");
                format!(
                    "{{0 {now} {} {} {} {} {} {} {} {live} {} {} {} {pinned} {hidden} 0}}",
                    self.epoch,
                    self.stocked,
                    self.avail(),
                    self.held(),
                    self.sold,
                    self.returned,
                    self.ver,
                    self.first('d'),
                    self.first('p'),
                    self.first('g'),
                )
            }
            Op::Weigh { most } if self.records.len() as i64 > *most => "{1}".to_owned(),
            // Whatever is derived from the records agrees with them.
            Op::Weigh { .. } => "{0 0 0 0}".to_owned(),
            Op::Pinned { most } => {
                let pins = self.index('p');
                if pins.len() > *most {
                    return "{1}".to_owned();
                }
                let list = pins.iter().map(|(_, rid)| format!(" {rid} {}", self.records[rid].qty));
                format!("{{0 {}{}}}", self.sold, list.collect::<String>())
            }
            Op::Terms { idle, with } => {
                let live = self.records.values().filter(|r| r.live() && !self.due(r)).count();
                if *idle && live > 0 {
                    return format!("{{1 {live}}}");
                }
                self.take_terms(with);
                "{0}".to_owned()
            }
            Op::Heard(_)
            | Op::Claim(_)
            | Op::Rebuild(_)
            | Op::Pass(_)
            | Op::Plant { .. }
            | Op::Lose(_) => String::new(),
        }
    }

    fn tell(&mut self, what: &str, rid: &str) {
        if self.heard {
            self.news.push(format!("{what} {rid} {}", self.records[rid].packed()));
        }
    }

    fn close(&mut self, rid: &str, state: char, reason: &str, actor: &str) {
        let now = self.now;
        let r = self.records.get_mut(rid).unwrap();
        (r.state, r.email) = (state, "-".to_owned());
        r.end = Some((reason.to_owned(), now, actor.to_owned()));
        let (kind, user) = (r.kind, r.user.clone());
        if kind != 'o' {
            let buyer = self.buyers.entry(user).or_default();
            buyer.slot.take_if(|slot| slot == rid);
            if kind == 'n' {
                buyer.last = Some(rid.to_owned());
            }
        }
    }

    fn reap(&mut self, most: usize) -> (usize, i64) {
        let due = self.index('d').into_iter().filter(|(at, _)| *at <= self.now);
        let due: Vec<_> = due.take(most).collect();
        for (_, rid) in &due {
            self.close(rid, 'E', "expired", "clock");
        }
        (due.len(), due.first().map_or(0, |(at, _)| self.now - at))
    }

    fn reserve(&mut self, want: &Want, tolerance: i64) -> String {
        let most = if self.ttl == 0 { DEFAULT_TTL } else { self.ttl };
        let ttl = if want.ttl == 0 { most } else { want.ttl };
        if self.records.contains_key(want.rid) {
            return self.standing(0, want.rid, ttl);
        }
        if ttl > most {
            return format!("{{8 {most}}}");
        }
        if let Some(slot) = self.buyer(want.user).slot {
            let r = self.records[&slot].clone();
            if self.due(&r) {
                self.close(&slot, 'E', "expired", "clock");
            } else if want.lines != "-" || r.lines != "-" || r.state == 'P' && r.qty != want.qty {
                return format!("{{2 {slot}}}");
            } else {
                let more = want.qty - r.qty;
                if more > 0
                    && let Some(refused) = self.refusal(want.user, more)
                {
                    return refused;
                }
                self.records.get_mut(&slot).unwrap().qty = want.qty;
                if more != 0 {
                    self.tell("held", &slot);
                }
                return self.standing(1, &slot, ttl);
            }
        }
        let ahead = self.churn.get(want.user).map_or(0, |(at, _)| at - self.now - tolerance);
        let looked = self.furthest_churn.is_some_and(|at| at - self.now - tolerance > 0);
        if tolerance > 0 && looked && ahead > 0 {
            return format!("{{9 {ahead}}}");
        }
        if let Some(refused) = self.refusal(want.user, want.qty) {
            return refused;
        }
        self.create(want, if want.lines == "-" { ttl } else { SHORT_TTL });
        ttl.to_string()
    }

    fn create(&mut self, want: &Want, lifetime: i64) {
        let token = secret(want.rid, want.token);
        let record = Record {
            state: 'H',
            kind: 'n',
            qty: want.qty,
            token: token.clone(),
            deadline: self.now + lifetime,
            created: self.now,
            ext: 0,
            cap: self.cap,
            lines: want.lines.to_owned(),
            user: want.user.to_owned(),
            email: email(want.user),
            end: None,
            pinned_at: 0,
        };
        self.records.insert(want.rid.to_owned(), record);
        if want.lines == "-" {
            self.tell("held", want.rid);
        }
        self.timers.insert(want.rid.to_owned(), (token, lifetime));
        self.buyers.entry(want.user.to_owned()).or_default().slot = Some(want.rid.to_owned());
    }

    fn standing(&self, status: u8, rid: &str, ttl: i64) -> String {
        let r = &self.records[rid];
        let Record { qty, deadline, created, state, .. } = r;
        format!("{{{status} {rid} {qty} {deadline} {created} {state} {ttl}}}")
    }

    fn refusal(&mut self, user: &str, more: i64) -> Option<String> {
        match self.sale.as_str() {
            "hidden" => return Some("{10}".to_owned()),
            "paused" => return Some("{7}".to_owned()),
            _ if self.now < self.opens_at => return Some(format!("{{5 {}}}", self.opens_at)),
            "closed" => return Some("{6}".to_owned()),
            _ if self.closes_at > 0 && self.now >= self.closes_at => {
                return Some("{6}".to_owned());
            }
            _ => {}
        }
        let (live, buyer) = (self.live_units(user), self.buyer(user));
        let bought = buyer.bought - buyer.back;
        if self.cap > 0 && live + bought + more > self.cap {
            return Some(format!("{{4 {} {live} {bought}}}", self.cap));
        }
        if self.avail() < more {
            self.reap(32);
        }
        let (avail, soonest) = (self.avail(), self.first('d'));
        (avail < more).then(|| format!("{{3 {} {soonest}}}", avail.max(0)))
    }

    fn arm(&mut self, rid: &str, deadline: i64) -> String {
        let now = self.now;
        match self.records.get_mut(rid) {
            Some(r) if r.state == 'P' || r.state == 'S' => "{0}".to_owned(),
            Some(r) if r.state == 'H' && r.deadline > now && deadline > now => {
                r.deadline = deadline;
                self.timers.insert(rid.to_owned(), (r.token.clone(), deadline - now));
                if r.lines != "@" {
                    self.tell("held", rid);
                }
                "{0}".to_owned()
            }
            _ => "{1}".to_owned(),
        }
    }

    fn pin(&mut self, rid: &str, user: &str, expected: i64) -> String {
        let Some(r) = self.records.get(rid).filter(|r| r.user == user).cloned() else {
            return "{2}".to_owned();
        };
        match r.state {
            'S' => return "{3}".to_owned(),
            'E' => return format!("{{1 {}}}", r.end.unwrap().0),
            _ if self.due(&r) => {
                self.close(rid, 'E', "expired", "clock");
                return "{1 expired}".to_owned();
            }
            _ if expected > 0 && expected != r.qty => return format!("{{4 {}}}", r.qty),
            'H' => {
                let now = self.now;
                let held = self.records.get_mut(rid).unwrap();
                (held.state, held.pinned_at) = ('P', now);
                self.timers.remove(rid);
            }
            _ => {}
        }
        let Record { token, qty, cap, lines, created, deadline, email, .. } = r;
        let epoch = self.epoch;
        format!("{{0 {token} {epoch} {qty} {cap} {lines} {created} {deadline} {email}}}")
    }

    fn settle(&mut self, rid: &str, confirmed: bool, token: &str, qty: i64) -> String {
        let Some(r) = self.records.get(rid).filter(|r| r.live()).cloned() else {
            return "{2}".to_owned();
        };
        if !confirmed || token != r.token {
            self.close(rid, 'E', "told", "tester");
            return "{1}".to_owned();
        }
        self.close(rid, 'S', "confirmed", "tester");
        self.sold += qty;
        if r.kind != 'o' {
            self.buyers.entry(r.user).or_default().bought += qty;
        }
        "{0}".to_owned()
    }

    fn grab(&mut self, rid: &str, token: &str, qty: i64) -> String {
        if let Some(r) = self.records.get(rid) {
            let Record { state, token, qty, .. } = r;
            let joined = format!("{{0 {token} {} {qty}}}", self.epoch);
            return if *state == 'P' { joined } else { "{1}".to_owned() };
        }
        if self.avail() < qty {
            self.reap(500);
        }
        if self.avail() < qty {
            return format!("{{2 {} {}}}", self.avail().max(0), self.first('d'));
        }
        self.plant(rid, 'o', "-", qty);
        self.records.get_mut(rid).unwrap().token = token.to_owned();
        format!("{{0 {token} {} {qty}}}", self.epoch)
    }

    fn late(&mut self, rid: &str, user: &str, token: &str, qty: i64) -> String {
        if let Some(r) = self.records.get(rid) {
            let Record { state, token, qty, cap, .. } = r;
            let joined = format!("{{0 {token} {} {qty} {cap}}}", self.epoch);
            return if *state == 'P' { joined } else { "{1}".to_owned() };
        }
        if self.avail() < qty {
            self.reap(500);
        }
        let (live, buyer) = (self.live_units(user), self.buyer(user));
        let bought = buyer.bought - buyer.back;
        if self.cap > 0 && live + bought + qty > self.cap {
            return format!("{{3 {} {live} {bought}}}", self.cap);
        }
        if self.avail() < qty {
            return format!("{{2 {}}}", self.avail().max(0));
        }
        self.plant(rid, 'l', user, qty);
        let cap = self.cap;
        let record = self.records.get_mut(rid).unwrap();
        (record.token, record.cap) = (token.to_owned(), cap);
        format!("{{0 {token} {} {qty} {cap}}}", self.epoch)
    }

    fn cancel(&mut self, rid: &str, user: &str, interval: i64) -> String {
        let Some(r) = self.records.get(rid).filter(|r| r.user == user).cloned() else {
            return "{2}".to_owned();
        };
        match r.state {
            'S' => return "{3}".to_owned(),
            'P' => return "{1}".to_owned(),
            'H' if self.due(&r) => self.close(rid, 'E', "expired", "clock"),
            'H' => {
                self.close(rid, 'E', "changed_mind", "customer");
                self.timers.remove(rid);
                if interval > 0 {
                    let at = self.churn.get(user).map_or(0, |churn| churn.0).max(self.now);
                    let at = at + interval;
                    self.churn.insert(user.to_owned(), (at, at - self.now));
                    self.furthest_churn = self.furthest_churn.max(Some(at));
                }
            }
            _ => {}
        }
        format!("{{0 {}}}", self.records[rid].packed())
    }

    fn extend(&mut self, rid: &str, user: &str, count: i64, deadline: i64) -> String {
        let Some(r) = self.records.get(rid).filter(|r| r.user == user).cloned() else {
            return "{2}".to_owned();
        };
        match r.state {
            'S' => return "{3}".to_owned(),
            'P' => return "{4}".to_owned(),
            'E' => return format!("{{1 {}}}", r.end.unwrap().0),
            _ if self.due(&r) => {
                self.close(rid, 'E', "expired", "clock");
                return "{1 expired}".to_owned();
            }
            _ if r.ext == count + 1 => return format!("{{0 {}}}", r.deadline),
            _ if r.ext != count => return "{5}".to_owned(),
            _ => {}
        }
        let deadline = r.deadline.max(deadline);
        let held = self.records.get_mut(rid).unwrap();
        (held.ext, held.deadline) = (count + 1, deadline);
        if r.lines != "@" {
            self.tell("extended", rid);
        }
        self.timers.insert(rid.to_owned(), (r.token, deadline - self.now));
        format!("{{0 {deadline}}}")
    }

    fn retime(&mut self, rids: &[&'static str], ttl: i64, life: i64) -> String {
        if self.ttl != 0 {
            return "{1}".to_owned();
        }
        let mut moved = 0;
        for rid in rids {
            let Some(r) = self.records.get(*rid).cloned() else { continue };
            let lasts = ttl.min(life.max(r.deadline - r.created));
            let deadline = r.deadline.min(self.now + 1_000).max(r.created + lasts);
            if r.state != 'H' || r.lines != "-" || self.due(&r) || deadline == r.deadline {
                continue;
            }
            moved += 1;
            self.records.get_mut(*rid).unwrap().deadline = deadline;
            self.tell("extended", rid);
            self.timers.insert((*rid).to_owned(), (r.token, deadline - self.now));
        }
        format!("{{0 {} {moved} {}}}", self.now, self.first('d'))
    }

    fn claim_pins(&mut self, grace: i64, most: usize) -> String {
        let old = self.index('p').into_iter().filter(|(at, _)| *at <= self.now - grace);
        let claimed: Vec<_> = old.take(most).collect();
        let mut pins = String::new();
        for (_, rid) in claimed {
            let r = self.records.get_mut(&rid).unwrap();
            r.pinned_at = self.now;
            pins += &format!(" {{{rid} {}}}", r.user);
        }
        format!("{{0 {} {}{pins}}}", self.now, self.first('p'))
    }

    fn forget(&mut self, rids: &[&str]) -> String {
        let mut dropped = 0;
        for rid in rids {
            if self.records.get(*rid).is_some_and(|r| !r.live()) {
                let user = self.records.remove(*rid).unwrap().user;
                if let Some(buyer) = self.buyers.get_mut(&user) {
                    buyer.last.take_if(|last| last == rid);
                }
                dropped += 1;
            }
        }
        format!("{{0 {dropped}}}")
    }

    fn plant(&mut self, rid: &str, kind: char, user: &str, qty: i64) {
        if !self.open || self.records.contains_key(rid) {
            return;
        }
        let record = Record {
            state: 'P',
            kind,
            qty,
            token: secret(rid, 'a'),
            deadline: self.now,
            created: self.now,
            ext: 0,
            cap: 0,
            lines: "-".to_owned(),
            user: user.to_owned(),
            email: "-".to_owned(),
            end: None,
            pinned_at: self.now,
        };
        self.records.insert(rid.to_owned(), record);
        self.buyers.entry(user.to_owned()).or_default();
    }

    fn lose(&mut self, loss: Loss) {
        self.open = false;
        match loss {
            Loss::Ready | Loss::Indexes => {}
            Loss::Stock => {
                (self.stored, self.claim, self.furthest_churn) = (false, -1, None);
            }
            Loss::Buyers | Loss::Garbage => self.buyers.clear(),
            Loss::Records => self.records.clear(),
            Loss::Everything => {
                *self = Self { epoch: self.epoch, ..Self::new(self.now) };
            }
        }
    }

    /// The epoch and the versions that a rebuild brings.
    pub fn after(&self, with: &Rebuild) -> (i64, i64, i64) {
        (self.epoch + with.epoch, self.ver + with.ver, self.terms + with.terms)
    }

    fn claim(&mut self, epoch: i64) -> String {
        if self.claim > epoch {
            return "{1}".to_owned();
        }
        self.claim = epoch;
        "{0}".to_owned()
    }

    fn take_terms(&mut self, with: &Rebuild) {
        let (_, _, terms) = self.after(with);
        if !self.stored || self.terms <= terms {
            (self.ttl, self.cap, self.terms) = (with.ttl, with.cap, terms);
            self.sale = with.sale.to_owned();
            (self.opens_at, self.closes_at) = with.window(self.now);
        }
    }

    fn rebuild(&mut self, with: &Rebuild) -> String {
        let (epoch, ver, _) = self.after(with);
        if self.stored && self.epoch >= epoch || self.claim != epoch || with.missing > 0 {
            return "{1}".to_owned();
        }
        if !self.stored || self.ver <= ver {
            (self.stocked, self.returned, self.ver) = (with.stocked, with.returned, ver);
        }
        self.take_terms(with);
        (self.open, self.stored, self.epoch, self.sold) = (true, true, epoch, with.sold);
        for (rid, outcome) in &with.decided {
            if self.records.get(*rid).is_some_and(Record::live) {
                let sold = *outcome == "CONFIRMED";
                let (state, reason) = if sold { ('S', "confirmed") } else { ('E', "aborted") };
                self.close(rid, state, reason, "rebuild");
            }
        }
        let backs = std::mem::take(&mut self.buyers);
        for r in self.records.values_mut().filter(|r| r.state == 'P') {
            r.pinned_at = self.now;
        }
        let mut restored = Vec::new();
        for (rid, token, qty, user) in &with.pending {
            let token = secret(rid, *token);
            if self.records.get(*rid).is_some_and(|r| !r.live() && r.token == token) {
                continue;
            }
            self.records.remove(*rid);
            self.plant(rid, 'n', user, *qty);
            self.records.get_mut(*rid).unwrap().token = token;
            restored.push(*rid);
        }
        for (user, bought, returned) in &with.staged {
            let buyer = self.buyers.entry((*user).to_owned()).or_default();
            let known = backs.get(*user).map_or(0, |buyer| buyer.back);
            (buyer.bought, buyer.back) = (*bought, known.max(*returned));
        }
        self.give_slots(&restored);
        let live = self.records.values().filter(|r| r.live()).count();
        format!("{{0 {} {live} {}}}", self.held(), self.first('d'))
    }

    /// A torn Redis may show several holds of one buyer: a payment under way goes before another pin, that before a hold.
    fn give_slots(&mut self, restored: &[&str]) {
        let normal = self.records.iter().filter(|(_, r)| r.live() && r.kind == 'n');
        let mut ranked: Vec<_> = normal
            .map(|(rid, r)| (restored.contains(&rid.as_str()), r.state == 'P', rid, &r.user))
            .collect();
        ranked.sort();
        for (restored, pinned, rid, user) in ranked {
            let rank = (restored, pinned);
            let (best, rivals) = self.rivals.entry(user.clone()).or_default();
            if rank > *best {
                (*best, *rivals) = (rank, Vec::new());
            }
            rivals.push(rid.clone());
            self.buyers.entry(user.clone()).or_default().slot = Some(rid.clone());
        }
        for r in self.records.values().filter(|r| r.live() && r.kind == 'l') {
            self.buyers.entry(r.user.clone()).or_default();
        }
    }

    /// Which of several holds with the same right to the slot has it, depends on how Redis lists them.
    pub fn adopt_slots(&mut self, found: &Dump) {
        for (user, (_, rivals)) in std::mem::take(&mut self.rivals) {
            let packed = found.get(&format!("b {user}")).map_or("", String::as_str);
            let slot = packed.split(' ').next().unwrap_or_default();
            if rivals.iter().any(|rival| rival == slot) {
                self.buyers.get_mut(&user).unwrap().slot = Some(slot.to_owned());
            }
        }
    }
}

impl Rebuild {
    /// When the sale opens and closes; 0 is open.
    pub fn window(&self, now: i64) -> (i64, i64) {
        let at = |in_ms: i64| if in_ms == 0 { 0 } else { now + in_ms };
        (at(self.opens_in), at(self.closes_in))
    }
}

/// The token that a hold of this number was made with; another letter is another run.
pub fn secret(rid: &str, letter: char) -> String {
    format!("{rid}{letter}")
}

/// The address that a buyer gives.
pub fn email(user: &str) -> String {
    format!("{user}@x")
}
