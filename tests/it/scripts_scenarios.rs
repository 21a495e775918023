//! Short stories for the scripts, one for each thing they guard. The model knows how each call must end, so a story is a
//! list of calls; what it is about stands in its name. Every SKU begins with six units and a cap of four.

use crate::scripts_model::{DEFAULT_TTL, Loss, Op, Rebuild, SHORT_TTL, Want};
use crate::scripts_properties::opening;

pub const MINUTE: i64 = 60_000;
const ALL: i64 = 1_000;

/// A story and its name.
pub type Scenario = (&'static str, Vec<Op>);

fn want(rid: &'static str, user: &'static str, qty: i64) -> Want {
    Want { rid, token: 'a', user, qty, ttl: 0, lines: "-" }
}

fn hold(rid: &'static str, user: &'static str, qty: i64) -> Op {
    Op::Reserve { tolerance: 0, wants: vec![want(rid, user, qty)] }
}

fn hold_for(rid: &'static str, user: &'static str, qty: i64, ttl: i64) -> Op {
    Op::Reserve { tolerance: 0, wants: vec![Want { ttl, ..want(rid, user, qty) }] }
}

fn line(rid: &'static str, user: &'static str, qty: i64) -> Op {
    Op::Reserve { tolerance: 0, wants: vec![Want { lines: "@", ..want(rid, user, qty) }] }
}

fn home(rid: &'static str, user: &'static str, qty: i64) -> Op {
    Op::Reserve { tolerance: 0, wants: vec![Want { lines: "X,Y", ..want(rid, user, qty) }] }
}

fn patient(rid: &'static str, user: &'static str, tolerance: i64) -> Op {
    Op::Reserve { tolerance, wants: vec![want(rid, user, 1)] }
}

fn pin(rid: &'static str, user: &'static str) -> Op {
    Op::Pin { rid, user, expected: 0 }
}

fn expect(rid: &'static str, user: &'static str, expected: i64) -> Op {
    Op::Pin { rid, user, expected }
}

fn sell(rid: &'static str, qty: i64) -> Op {
    Op::Settle { rid, confirmed: true, token: 'a', qty }
}

fn abort(rid: &'static str) -> Op {
    Op::Settle { rid, confirmed: false, token: 'a', qty: 0 }
}

fn cancel(rid: &'static str, user: &'static str) -> Op {
    Op::Cancel { rid, user, interval: 0 }
}

fn extend(rid: &'static str, user: &'static str, count: i64, ms: i64) -> Op {
    Op::Extend { rid, user, count, ms }
}

fn retime(rids: &[&'static str], ttl: i64, life: i64) -> Op {
    Op::Retime { rids: rids.to_vec(), ttl, life }
}

fn grab(rid: &'static str, qty: i64) -> Op {
    Op::Grab { rid, token: 'a', qty }
}

fn belated(rid: &'static str, user: &'static str, qty: i64) -> Op {
    Op::Late { rid, user, token: 'a', qty }
}

fn moved(stocked: i64, ver: i64, taken: &[&'static str]) -> Op {
    Op::ApplyStock { stocked, returned: 0, ver, taken: taken.to_vec(), backs: Vec::new() }
}

fn given_back(ver: i64, backs: &[(&'static str, i64)]) -> Op {
    Op::ApplyStock { stocked: 8, returned: 2, ver, taken: Vec::new(), backs: backs.to_vec() }
}

fn late(rid: &'static str, kind: char, user: &'static str, qty: i64) -> Op {
    Op::Plant { rid, kind, user, qty }
}

fn rebuild(change: impl FnOnce(&mut Rebuild)) -> Op {
    let mut with = Rebuild { ver: 0, terms: 0, ..opening() };
    change(&mut with);
    Op::Rebuild(with)
}

/// The same while somebody wants to hear of holds.
fn heard(op: Op) -> Op {
    Op::Heard(Box::new(op))
}

fn expire() -> Op {
    Op::Expire { most: 64 }
}

fn ended() -> Op {
    Op::Ended { age: 0, most: 100 }
}

/// Every story.
pub fn scenarios() -> Vec<Scenario> {
    [
        reserving(),
        moving(),
        refusing(),
        several(),
        deciding(),
        ending(),
        cleaning(),
        rebuilding(),
        changing(),
        stocking(),
        telling(),
        belating(),
    ]
    .concat()
}

fn telling() -> Vec<Scenario> {
    vec![
        (
            "who wants to hear of holds is told of each that is made, moved or extended",
            vec![
                hold("r0", "u0", 1),
                heard(hold("r1", "u1", 1)),
                heard(hold("r1", "u1", 1)),
                heard(hold("r2", "u1", 1)),
                heard(hold("r2", "u1", 2)),
                hold("r2", "u1", 1),
                heard(extend("r1", "u1", 0, 2 * DEFAULT_TTL)),
                heard(extend("r1", "u1", 0, 2 * DEFAULT_TTL)),
                extend("r1", "u1", 1, 2 * DEFAULT_TTL),
                heard(extend("r5", "u1", 0, DEFAULT_TTL)),
            ],
        ),
        (
            "a batch is told of one by one, also where holds are reaped on the way",
            vec![
                hold_for("r0", "u0", 4, MINUTE),
                Op::Pass(MINUTE),
                heard(Op::Reserve {
                    tolerance: 0,
                    wants: vec![want("r1", "u1", 2), want("r2", "u2", 4), want("r3", "u0", 1)],
                }),
            ],
        ),
        (
            "a reservation of several is told of once it is armed",
            vec![
                heard(line("r0", "u0", 1)),
                heard(Op::Arm { rid: "r0", ms: MINUTE }),
                heard(extend("r0", "u0", 0, DEFAULT_TTL)),
                heard(home("r1", "u1", 1)),
                heard(Op::Arm { rid: "r1", ms: MINUTE }),
                heard(extend("r1", "u1", 0, DEFAULT_TTL)),
                home("r2", "u2", 1),
                Op::Arm { rid: "r2", ms: MINUTE },
                heard(Op::Arm { rid: "r5", ms: MINUTE }),
            ],
        ),
    ]
}

fn reserving() -> Vec<Scenario> {
    let batch = vec![
        want("r0", "u0", 4),
        Want { ttl: MINUTE, ..want("r1", "u1", 2) },
        want("r2", "u2", 1),
        want("r0", "u0", 4),
    ];
    vec![
        (
            "a hold is made, found, pinned and sold",
            vec![
                Op::Find { user: "u0" },
                hold("r0", "u0", 2),
                Op::Find { user: "u0" },
                Op::Read(vec!["r0", "r1"]),
                Op::Audit,
                pin("r0", "u0"),
                Op::Audit,
                sell("r0", 2),
                Op::Find { user: "u0" },
                ended(),
                Op::Audit,
            ],
        ),
        (
            "an answer that was lost is given again, whatever became of the hold",
            vec![
                hold("r0", "u0", 2),
                hold_for("r0", "u0", 2, MINUTE),
                pin("r0", "u0"),
                hold("r0", "u0", 2),
                sell("r0", 2),
                hold("r0", "u0", 2),
            ],
        ),
        (
            "each request of a batch gets its own answer",
            vec![Op::Reserve { tolerance: 0, wants: batch }],
        ),
        (
            "each of several confirms gets its own answer",
            vec![
                hold("r0", "u0", 1),
                hold("r1", "u1", 2),
                hold_for("r2", "u2", 1, MINUTE),
                Op::Pass(MINUTE),
                Op::Batch(vec![
                    expect("r0", "u0", 1),
                    pin("r1", "u1"),
                    pin("r2", "u2"),
                    pin("r0", "u1"),
                    expect("r1", "u1", 1),
                    pin("r0", "u0"),
                ]),
                Op::Batch(vec![sell("r0", 1), abort("r1"), sell("r0", 1), sell("r2", 1)]),
                Op::Audit,
            ],
        ),
        (
            "a TTL is the product's, at most",
            vec![
                hold_for("r0", "u0", 1, DEFAULT_TTL + 1),
                hold_for("r0", "u0", 1, DEFAULT_TTL),
                rebuild(|with| (with.ttl, with.terms) = (5 * MINUTE, 1)),
                hold_for("r1", "u1", 1, 5 * MINUTE + 1),
                hold("r1", "u1", 1),
                hold_for("r2", "u2", 1, MINUTE),
            ],
        ),
        (
            "a buyer whose hold is due may hold again at once",
            vec![
                hold("r0", "u0", 4),
                Op::Pass(DEFAULT_TTL),
                hold("r1", "u0", 4),
                Op::Find { user: "u0" },
            ],
        ),
    ]
}

fn moving() -> Vec<Scenario> {
    vec![
        (
            "a second reserve changes the quantity, not the deadline",
            vec![
                hold("r0", "u0", 2),
                Op::Pass(1_000),
                hold("r1", "u0", 3),
                hold("r1", "u0", 1),
                hold("r2", "u0", 1),
                Op::Audit,
            ],
        ),
        (
            "more is refused by the cap, less never",
            vec![
                hold("r0", "u0", 2),
                hold("r1", "u0", 5),
                hold("r1", "u0", 4),
                rebuild(|with| (with.sale, with.terms) = ("paused", 1)),
                hold("r1", "u0", 3),
                hold("r1", "u0", 4),
            ],
        ),
        (
            "more is sold out only after what is due was reaped",
            vec![
                hold_for("r0", "u0", 4, MINUTE),
                hold("r1", "u1", 2),
                hold("r2", "u1", 3),
                Op::Pass(MINUTE),
                hold("r2", "u1", 3),
            ],
        ),
        (
            "a pinned hold stands for its own quantity only",
            vec![
                hold("r0", "u0", 2),
                pin("r0", "u0"),
                hold("r1", "u0", 2),
                hold("r1", "u0", 3),
                hold("r1", "u0", 1),
            ],
        ),
        (
            "more and less wait for no churn",
            vec![
                hold("r0", "u0", 1),
                Op::Cancel { rid: "r0", user: "u0", interval: 5 * MINUTE },
                hold("r1", "u0", 1),
                Op::Reserve { tolerance: MINUTE, wants: vec![want("r2", "u0", 2)] },
            ],
        ),
    ]
}

fn refusing() -> Vec<Scenario> {
    let sale = |sale: &'static str| rebuild(move |with| (with.sale, with.terms) = (sale, 1));
    vec![
        (
            "sold out is said only after what is due was reaped",
            vec![
                hold_for("r0", "u0", 4, MINUTE),
                hold("r1", "u1", 2),
                hold("r2", "u2", 1),
                Op::Pass(MINUTE - 1),
                hold("r2", "u2", 1),
                Op::Pass(1),
                hold("r2", "u2", 1),
            ],
        ),
        (
            "a debt of stock is shown as nothing left",
            vec![
                hold("r0", "u0", 4),
                rebuild(|with| (with.stocked, with.ver) = (2, 1)),
                hold("r1", "u1", 1),
            ],
        ),
        (
            "without a cap only the stock counts",
            vec![
                rebuild(|with| (with.cap, with.terms) = (0, 1)),
                hold("r0", "u0", 7),
                hold("r0", "u0", 6),
            ],
        ),
        (
            "the cap counts what was bought and not given back",
            vec![
                rebuild(|with| with.staged = vec![("u0", 3, 1)]),
                hold("r0", "u0", 3),
                hold("r0", "u0", 2),
                hold("r1", "u0", 3),
            ],
        ),
        (
            "B1: the cap counts every live unit of the buyer",
            vec![late("r5", 'l', "u0", 2), hold("r0", "u0", 3), hold("r0", "u0", 2)],
        ),
        (
            "what the owner takes out is no buyer's",
            vec![
                late("r5", 'o', "u0", 2),
                hold("r0", "u0", 4),
                sell("r5", 2),
                late("r4", 'o', "u1", 1),
                abort("r4"),
                Op::Audit,
            ],
        ),
        ("a hidden product is unknown", vec![sale("hidden"), hold("r0", "u0", 1)]),
        ("a paused sale refuses", vec![sale("paused"), hold("r0", "u0", 1)]),
        ("a closed sale refuses", vec![sale("closed"), hold("r0", "u0", 1)]),
        (
            "a sale begins on the millisecond",
            vec![
                rebuild(|with| (with.opens_in, with.terms) = (MINUTE, 1)),
                Op::Pass(MINUTE - 1),
                hold("r0", "u0", 1),
                Op::Pass(1),
                hold("r0", "u0", 1),
            ],
        ),
        (
            "a sale ends on the millisecond",
            vec![
                rebuild(|with| (with.closes_in, with.terms) = (MINUTE, 1)),
                Op::Pass(MINUTE - 1),
                hold("r0", "u0", 1),
                Op::Pass(1),
                hold("r1", "u1", 1),
            ],
        ),
        (
            "who cancels again and again has to wait",
            vec![
                hold("r0", "u0", 1),
                Op::Cancel { rid: "r0", user: "u0", interval: MINUTE },
                Op::Cancel { rid: "r0", user: "u0", interval: MINUTE },
                patient("r1", "u0", MINUTE),
                Op::Cancel { rid: "r1", user: "u0", interval: MINUTE },
                patient("r2", "u0", MINUTE),
                patient("r2", "u1", MINUTE),
                Op::Pass(MINUTE),
                patient("r3", "u0", MINUTE),
            ],
        ),
        (
            "churn is forgiven with time, and may be off",
            vec![
                hold("r0", "u0", 1),
                Op::Cancel { rid: "r0", user: "u0", interval: MINUTE },
                Op::Pass(5 * MINUTE),
                hold("r1", "u0", 1),
                Op::Cancel { rid: "r1", user: "u0", interval: 9 * MINUTE },
                hold("r2", "u0", 1),
                cancel("r2", "u0"),
            ],
        ),
        (
            "somebody else who cancels little hides no churn",
            vec![
                hold("r0", "u0", 1),
                Op::Cancel { rid: "r0", user: "u0", interval: 9 * MINUTE },
                hold("r1", "u1", 1),
                Op::Cancel { rid: "r1", user: "u1", interval: 2 * MINUTE },
                Op::Reserve { tolerance: 2 * MINUTE, wants: vec![want("r2", "u0", 1)] },
                Op::Reserve { tolerance: 2 * MINUTE, wants: vec![want("r3", "u1", 1)] },
            ],
        ),
    ]
}

fn several() -> Vec<Scenario> {
    vec![
        (
            "K10: a line is shared by no two runs",
            vec![
                line("r0", "u0", 1),
                line("r1", "u0", 1),
                hold("r2", "u0", 1),
                hold("r3", "u1", 1),
                line("r4", "u1", 1),
            ],
        ),
        (
            "a line of several stands for a short time until it is armed",
            vec![
                line("r0", "u0", 1),
                line("r1", "u1", 1),
                Op::Arm { rid: "r0", ms: 2 * SHORT_TTL },
                Op::Pass(SHORT_TTL),
                Op::Arm { rid: "r1", ms: SHORT_TTL },
                Op::Arm { rid: "r5", ms: SHORT_TTL },
                pin("r0", "u0"),
                Op::Arm { rid: "r0", ms: SHORT_TTL },
                expire(),
            ],
        ),
        (
            "nothing is armed into the past",
            vec![
                line("r0", "u0", 1),
                Op::Arm { rid: "r0", ms: 0 },
                Op::Arm { rid: "r0", ms: MINUTE },
            ],
        ),
        (
            "a line that is sold counts as armed, one that ended is gone",
            vec![
                line("r0", "u0", 1),
                line("r1", "u1", 1),
                sell("r0", 1),
                abort("r1"),
                Op::Arm { rid: "r0", ms: MINUTE },
                Op::Arm { rid: "r1", ms: MINUTE },
            ],
        ),
        (
            "a pinned line is shared by no other run",
            vec![
                line("r0", "u0", 1),
                pin("r0", "u0"),
                hold("r1", "u0", 1),
                hold("r2", "u1", 1),
                pin("r2", "u1"),
                line("r3", "u1", 1),
            ],
        ),
    ]
}

fn deciding() -> Vec<Scenario> {
    vec![
        (
            "only its buyer pins a hold, and only in the quantity that is meant",
            vec![
                pin("r0", "u0"),
                hold("r0", "u0", 2),
                pin("r0", "u1"),
                expect("r0", "u0", 3),
                expect("r0", "u0", 2),
                expect("r0", "u0", 1),
            ],
        ),
        (
            "a pin is joined, and keeps its age",
            vec![hold("r0", "u0", 2), pin("r0", "u0"), Op::Pass(1_000), pin("r0", "u0")],
        ),
        (
            "time ends no pin",
            vec![
                hold("r0", "u0", 2),
                pin("r0", "u0"),
                Op::Pass(2 * DEFAULT_TTL),
                expire(),
                pin("r0", "u0"),
                hold("r1", "u0", 2),
                cancel("r0", "u0"),
            ],
        ),
        (
            "a hold that is due cannot be pinned",
            vec![
                hold("r0", "u0", 2),
                Op::Pass(DEFAULT_TTL),
                pin("r0", "u0"),
                pin("r0", "u0"),
                sell("r0", 2),
            ],
        ),
        (
            "what is sold stays sold",
            vec![
                hold("r0", "u0", 2),
                pin("r0", "u0"),
                sell("r0", 2),
                sell("r0", 2),
                abort("r0"),
                pin("r0", "u0"),
                cancel("r0", "u0"),
                extend("r0", "u0", 0, 2 * DEFAULT_TTL),
            ],
        ),
        (
            "a decision about another run's token sells nothing",
            vec![
                hold("r0", "u0", 2),
                pin("r0", "u0"),
                Op::Settle { rid: "r0", confirmed: true, token: 'b', qty: 2 },
                sell("r0", 2),
            ],
        ),
        (
            "an aborted pin gives its units back once",
            vec![
                hold("r0", "u0", 2),
                pin("r0", "u0"),
                abort("r0"),
                abort("r0"),
                pin("r0", "u0"),
                abort("r1"),
                sell("r1", 1),
            ],
        ),
        (
            "a decision counts in its own quantity, pinned or not",
            vec![
                hold("r0", "u0", 3),
                sell("r0", 2),
                hold("r1", "u0", 2),
                sell("r1", 2),
                hold("r2", "u0", 1),
            ],
        ),
        (
            "A3: a slot is cleared only by its own record",
            vec![
                hold("r0", "u0", 1),
                late("r5", 'l', "u0", 2),
                late("r4", 'l', "u0", 1),
                abort("r5"),
                Op::Find { user: "u0" },
                sell("r4", 1),
                Op::Find { user: "u0" },
                hold("r1", "u0", 2),
            ],
        ),
        (
            "A3: a slot is cleared with its record",
            vec![
                hold("r0", "u0", 4),
                cancel("r0", "u0"),
                line("r1", "u0", 4),
                pin("r1", "u0"),
                abort("r1"),
                line("r2", "u0", 4),
                sell("r2", 4),
                rebuild(|with| (with.cap, with.terms) = (5, 1)),
                line("r3", "u0", 1),
            ],
        ),
    ]
}

fn ending() -> Vec<Scenario> {
    vec![
        (
            "only its buyer cancels a hold, and not while it is confirmed",
            vec![
                cancel("r0", "u0"),
                hold("r0", "u0", 2),
                cancel("r0", "u1"),
                pin("r0", "u0"),
                cancel("r0", "u0"),
                abort("r0"),
                cancel("r0", "u0"),
                cancel("r0", "u1"),
            ],
        ),
        (
            "a hold that was due has expired, whoever cancels it",
            vec![
                hold("r0", "u0", 2),
                Op::Pass(DEFAULT_TTL),
                Op::Cancel { rid: "r0", user: "u0", interval: MINUTE },
                cancel("r0", "u0"),
            ],
        ),
        (
            "only its buyer extends a hold, once for each number",
            vec![
                extend("r0", "u0", 0, 2 * DEFAULT_TTL),
                hold("r0", "u0", 2),
                extend("r0", "u1", 0, 2 * DEFAULT_TTL),
                extend("r0", "u0", 1, 2 * DEFAULT_TTL),
                extend("r0", "u0", 0, 2 * DEFAULT_TTL),
                extend("r0", "u0", 0, 3 * DEFAULT_TTL),
                extend("r0", "u0", 1, 3 * DEFAULT_TTL),
                extend("r0", "u0", 0, 4 * DEFAULT_TTL),
            ],
        ),
        (
            "a changed hold time moves what is held of one product, from its beginning",
            vec![
                hold("r0", "u0", 2),
                Op::Pass(2 * MINUTE),
                hold("r1", "u1", 1),
                pin("r1", "u1"),
                home("r2", "u2", 1),
                retime(&["r0", "r1", "r2", "r9"], 5 * MINUTE, 30 * MINUTE),
                retime(&["r0", "r1", "r2", "r9"], 5 * MINUTE, 30 * MINUTE),
                heard(retime(&["r0"], 20 * MINUTE, 30 * MINUTE)),
                retime(&["r0"], 60 * MINUTE, 30 * MINUTE),
                retime(&["r0"], 60 * MINUTE, MINUTE),
                retime(&["r0"], MINUTE, MINUTE),
                Op::Pass(500),
                retime(&["r0"], MINUTE, MINUTE),
                Op::Pass(MINUTE),
                retime(&["r0"], 20 * MINUTE, 30 * MINUTE),
                Op::Weigh { most: 9 },
                Op::Pinned { most: 1 },
                sell("r1", 1),
                hold("r4", "u4", 2),
                pin("r4", "u4"),
                Op::Pinned { most: 1 },
                Op::Pinned { most: 0 },
                Op::Expire { most: 9 },
                rebuild(|with| with.ttl = 5 * MINUTE),
                hold("r3", "u3", 1),
                retime(&["r3"], 20 * MINUTE, 30 * MINUTE),
                Op::Weigh { most: 9 },
                Op::Weigh { most: 1 },
            ],
        ),
        (
            "an extension never shortens, and revives nothing",
            vec![
                hold("r0", "u0", 2),
                extend("r0", "u0", 0, 1_000),
                Op::Pass(DEFAULT_TTL),
                extend("r0", "u0", 1, DEFAULT_TTL),
                extend("r0", "u0", 1, DEFAULT_TTL),
                hold("r1", "u0", 2),
                pin("r1", "u0"),
                extend("r1", "u0", 0, 2 * DEFAULT_TTL),
            ],
        ),
        (
            "what is due is released, the oldest first and not all at once",
            vec![
                hold_for("r0", "u0", 1, MINUTE),
                hold_for("r1", "u1", 1, MINUTE / 2),
                hold("r2", "u2", 1),
                expire(),
                Op::Pass(2 * MINUTE),
                Op::Expire { most: 1 },
                Op::Expire { most: 2 },
                expire(),
            ],
        ),
        (
            "old pins are handed out once per grace",
            vec![
                hold("r0", "u0", 1),
                hold("r1", "u1", 1),
                pin("r0", "u0"),
                Op::Pass(MINUTE),
                pin("r1", "u1"),
                Op::ClaimPins { grace: MINUTE, most: 9 },
                Op::ClaimPins { grace: MINUTE, most: 9 },
                Op::Pass(MINUTE),
                Op::ClaimPins { grace: MINUTE, most: 1 },
                Op::ClaimPins { grace: MINUTE, most: 1 },
            ],
        ),
    ]
}

fn cleaning() -> Vec<Scenario> {
    let closed = [
        hold("r0", "u0", 1),
        Op::Arm { rid: "r1", ms: ALL },
        pin("r1", "u1"),
        sell("r1", 1),
        abort("r1"),
        grab("r3", 1),
        moved(9, 1, &["r1"]),
        cancel("r1", "u1"),
        extend("r1", "u1", 0, ALL),
        expire(),
        Op::ClaimPins { grace: 0, most: 9 },
        ended(),
        Op::Forget(vec!["r2"]),
        Op::Find { user: "u1" },
        Op::Read(vec!["r1"]),
        Op::Audit,
        Op::Weigh { most: 9 },
        Op::Pinned { most: 9 },
        retime(&["r1"], ALL, ALL),
    ];
    let begin = [hold("r1", "u1", 1), hold("r2", "u2", 1), cancel("r2", "u2")];
    let closed_by = |loss| [&begin[..], &[Op::Lose(loss)], &closed[..]].concat();
    vec![
        (
            "ended reservations are listed when they are old enough",
            vec![
                hold("r0", "u0", 1),
                cancel("r0", "u0"),
                Op::Pass(MINUTE),
                hold("r1", "u1", 1),
                cancel("r1", "u1"),
                Op::Ended { age: MINUTE, most: 9 },
                Op::Ended { age: 0, most: 1 },
                ended(),
            ],
        ),
        (
            "what ended is forgotten, what lives is not",
            vec![
                hold("r0", "u0", 1),
                hold("r1", "u1", 1),
                hold("r2", "u2", 1),
                pin("r1", "u1"),
                sell("r2", 1),
                Op::Forget(vec!["r0", "r1", "r2", "r3"]),
                cancel("r0", "u0"),
                Op::Forget(vec!["r0", "r0"]),
            ],
        ),
        (
            "a buyer's last hold is remembered until it is forgotten itself",
            vec![
                hold("r0", "u0", 1),
                cancel("r0", "u0"),
                hold("r1", "u0", 1),
                cancel("r1", "u0"),
                Op::Forget(vec!["r0"]),
                Op::Find { user: "u0" },
                Op::Forget(vec!["r1"]),
                Op::Find { user: "u0" },
            ],
        ),
        ("a SKU that was closed answers nothing but its rebuild", closed_by(Loss::Ready)),
        ("a SKU that is lost answers nothing but its rebuild", closed_by(Loss::Stock)),
    ]
}

fn rebuilding() -> Vec<Scenario> {
    let live = [
        hold("r0", "u0", 2),
        hold("r1", "u1", 1),
        pin("r1", "u1"),
        late("r5", 'o', "u1", 1),
        late("r4", 'l', "u0", 1),
        hold("r2", "u2", 1),
        cancel("r2", "u2"),
        Op::Pass(1_000),
    ];
    let after = |loss| {
        let again = rebuild(|with| with.staged = vec![("u0", 1, 1)]);
        [&live[..], &[Op::Lose(loss), again], &[hold("r3", "u2", 1), Op::Audit]].concat()
    };
    let pending =
        |rows: Vec<(&'static str, char, i64, &'static str)>| rebuild(|with| with.pending = rows);
    vec![
        ("a rebuild counts anew what the records say", after(Loss::Ready)),
        ("a rebuild makes the stock anew", after(Loss::Stock)),
        ("a rebuild makes the indexes anew", after(Loss::Indexes)),
        ("L1: a rebuild makes the buyers anew", after(Loss::Buyers)),
        ("a rebuild without records holds nothing", after(Loss::Records)),
        ("a rebuild begins from nothing", after(Loss::Everything)),
        ("a rebuild throws away what nobody can read", after(Loss::Garbage)),
        (
            "a rebuild that was overtaken changes nothing",
            vec![
                hold("r0", "u0", 2),
                rebuild(|with| (with.epoch, with.sold, with.stocked, with.ver) = (0, 1, 9, 1)),
                rebuild(|with| (with.epoch, with.sold, with.stocked, with.ver) = (-1, 1, 9, 1)),
                Op::Lose(Loss::Ready),
                rebuild(|with| (with.epoch, with.sold) = (0, 1)),
                rebuild(|with| (with.epoch, with.sold) = (1, 1)),
            ],
        ),
        (
            "only the rebuild that claimed last is applied",
            vec![
                Op::Claim(2),
                Op::Claim(1),
                rebuild(|with| (with.claims, with.sold) = (false, 1)),
                Op::Claim(2),
                rebuild(|with| (with.claims, with.epoch, with.sold) = (false, 3, 1)),
                rebuild(|with| (with.claims, with.epoch, with.sold) = (false, 2, 1)),
                Op::Lose(Loss::Everything),
                rebuild(|with| with.claims = false),
            ],
        ),
        (
            "a rebuild whose staged buyers are not all there changes nothing",
            vec![
                hold("r0", "u0", 1),
                rebuild(|with| (with.missing, with.staged) = (1, vec![("u0", 1, 0)])),
                rebuild(|with| with.missing = 1),
                rebuild(|with| with.staged = vec![("u0", 1, 0)]),
            ],
        ),
        (
            "S5: a rebuild keeps the newer stock",
            vec![
                rebuild(|with| (with.stocked, with.sold, with.returned, with.ver) = (8, 2, 1, 1)),
                rebuild(|with| (with.stocked, with.sold, with.returned, with.ver) = (7, 3, 0, -1)),
                rebuild(|with| (with.stocked, with.sold, with.returned, with.ver) = (9, 3, 2, 0)),
            ],
        ),
        (
            "a rebuild keeps the newer terms",
            vec![
                rebuild(|with| {
                    (with.cap, with.sale, with.ttl, with.terms) = (2, "paused", MINUTE, 1)
                }),
                rebuild(|with| (with.cap, with.sale, with.ttl, with.terms) = (3, "open", 0, -1)),
                rebuild(|with| (with.opens_in, with.closes_in) = (MINUTE, 2 * MINUTE)),
            ],
        ),
        (
            "a rebuild closes what is decided",
            vec![
                hold("r0", "u0", 1),
                hold("r1", "u1", 1),
                hold("r2", "u2", 1),
                pin("r0", "u0"),
                cancel("r2", "u2"),
                Op::Pass(1_000),
                rebuild(|with| {
                    with.sold = 1;
                    with.decided = vec![
                        ("r0", "CONFIRMED"),
                        ("r1", "ABORTED"),
                        ("r2", "CONFIRMED"),
                        ("r3", "OUT"),
                    ];
                    with.staged = vec![("u0", 1, 0)];
                }),
                sell("r0", 1),
                Op::Audit,
            ],
        ),
        (
            "P10: a rebuild restores the pins of payments",
            vec![
                hold("r0", "u0", 1),
                hold("r1", "u1", 1),
                pin("r1", "u1"),
                Op::Pass(1_000),
                pending(vec![("r0", 'a', 2, "u0"), ("r1", 'b', 1, "u1"), ("r2", 'a', 1, "u2")]),
                sell("r0", 2),
                abort("r1"),
            ],
        ),
        (
            "P18: what ended after the list was made stays ended",
            vec![
                hold("r0", "u0", 1),
                hold("r1", "u1", 1),
                hold("r2", "u2", 1),
                abort("r0"),
                sell("r1", 1),
                abort("r2"),
                pending(vec![("r0", 'a', 1, "u0"), ("r1", 'a', 1, "u1"), ("r2", 'b', 1, "u2")]),
                Op::Find { user: "u2" },
                ended(),
            ],
        ),
        (
            "a payment has the slot before a hold that came back",
            vec![
                hold("r1", "u0", 1),
                pending(vec![("r3", 'a', 2, "u0")]),
                abort("r3"),
                Op::Find { user: "u0" },
                rebuild(|_| {}),
                hold("r0", "u0", 2),
                pin("r1", "u0"),
                pending(vec![("r4", 'a', 1, "u0")]),
            ],
        ),
        (
            "a pin has the slot before a hold that came back",
            vec![
                hold("r1", "u0", 1),
                pin("r1", "u0"),
                pending(vec![("r3", 'a', 1, "u0")]),
                abort("r3"),
                hold("r2", "u0", 1),
                rebuild(|_| {}),
                pending(vec![("r0", 'a', 1, "u0")]),
                rebuild(|_| {}),
            ],
        ),
        (
            "L2: what was bought comes from Postgres",
            vec![
                rebuild(|with| with.staged = vec![("u0", 3, 0), ("u1", 1, 0)]),
                hold("r0", "u0", 2),
                hold("r0", "u0", 1),
                rebuild(|with| with.staged = vec![("u0", 2, 0)]),
                hold("r1", "u0", 2),
                hold("r2", "u1", 4),
            ],
        ),
        (
            "G1: what was given back only grows",
            vec![
                rebuild(|with| with.staged = vec![("u0", 4, 2), ("u1", 3, 1)]),
                rebuild(|with| with.staged = vec![("u0", 4, 1), ("u1", 3, 2)]),
                hold("r0", "u0", 3),
                hold("r0", "u0", 2),
            ],
        ),
    ]
}

fn changing() -> Vec<Scenario> {
    let terms = |idle: bool, change: fn(&mut Rebuild)| {
        let mut with = Rebuild { terms: 0, ..opening() };
        change(&mut with);
        Op::Terms { idle, with }
    };
    let hide = |idle| terms(idle, |with| (with.sale, with.terms) = ("hidden", 1));
    vec![
        (
            "new terms rule new holds and leave those that stand",
            vec![
                hold("r0", "u0", 4),
                terms(false, |with| {
                    (with.ttl, with.cap, with.opens_in, with.closes_in) =
                        (MINUTE, 2, 0, 2 * MINUTE);
                    with.terms = 1;
                }),
                hold("r1", "u1", 3),
                hold("r1", "u1", 1),
                Op::Read(vec!["r0", "r1"]),
                terms(false, |with| (with.opens_in, with.terms) = (3 * MINUTE, 1)),
                hold("r2", "u2", 1),
                terms(false, |with| (with.sale, with.terms) = ("paused", 1)),
                hold("r2", "u2", 1),
            ],
        ),
        (
            "older terms come too late, the same ones again",
            vec![
                terms(false, |with| (with.sale, with.terms) = ("paused", 2)),
                terms(false, |with| (with.cap, with.terms) = (1, -1)),
                hold("r0", "u0", 1),
                terms(false, |with| with.cap = 2),
                hold("r0", "u0", 3),
            ],
        ),
        (
            "a product that is held or pinned is not hidden",
            vec![
                hold("r0", "u0", 1),
                hide(true),
                pin("r0", "u0"),
                hide(true),
                hold("r1", "u1", 1),
                sell("r0", 1),
                hide(true),
                Op::Pass(DEFAULT_TTL - 1),
                hide(true),
                Op::Pass(1),
                hide(true),
                hold("r2", "u2", 1),
                expire(),
            ],
        ),
        (
            "hiding without asking leaves the holds",
            vec![
                hold("r0", "u0", 1),
                hide(false),
                hold("r1", "u1", 1),
                pin("r0", "u0"),
                sell("r0", 1),
            ],
        ),
        ("a closed SKU takes no terms", vec![Op::Lose(Loss::Ready), hide(true), hide(false)]),
        (
            "terms that cannot be read are replaced",
            vec![Op::Lose(Loss::Stock), rebuild(|_| {}), terms(false, |with| with.cap = 1)],
        ),
    ]
}

fn stocking() -> Vec<Scenario> {
    vec![
        (
            "an owner takes out what is neither held nor sold",
            vec![
                hold("r0", "u0", 2),
                hold("r1", "u1", 1),
                sell("r1", 1),
                grab("r2", 4),
                grab("r2", 3),
                hold("r3", "u2", 1),
                moved(3, 1, &["r2"]),
                Op::Audit,
                hold("r3", "u2", 1),
                Op::Read(vec!["r2"]),
            ],
        ),
        (
            "what is due is no reason to leave units in",
            vec![
                hold_for("r0", "u0", 4, MINUTE),
                hold("r1", "u1", 2),
                grab("r2", 1),
                Op::Pass(MINUTE),
                grab("r2", 5),
                grab("r2", 4),
                Op::Audit,
            ],
        ),
        (
            "a debt of stock leaves nothing to take out",
            vec![hold("r0", "u0", 4), moved(2, 1, &[]), grab("r1", 1), Op::Audit],
        ),
        (
            "a pin of the owner's is joined, and stays what it is",
            vec![
                grab("r0", 2),
                Op::Pass(2 * DEFAULT_TTL),
                expire(),
                Op::Grab { rid: "r0", token: 'b', qty: 3 },
                Op::ClaimPins { grace: MINUTE, most: 9 },
                pin("r0", "u0"),
                cancel("r0", "u0"),
                hold("r1", "u0", 4),
                Op::Audit,
            ],
        ),
        (
            "what was taken out or let go is not taken again",
            vec![
                grab("r0", 2),
                moved(4, 1, &["r0"]),
                grab("r0", 2),
                moved(4, 0, &["r0"]),
                grab("r1", 2),
                abort("r1"),
                grab("r1", 2),
                moved(4, 0, &["r1"]),
                Op::Audit,
            ],
        ),
        (
            "O1: units that are taken out are never back in between",
            vec![
                grab("r0", 6),
                hold("r1", "u1", 1),
                moved(0, 1, &["r0"]),
                hold("r1", "u1", 1),
                Op::Audit,
            ],
        ),
        (
            "a pin may end after its stock is gone",
            vec![
                grab("r0", 4),
                moved(5, 2, &[]),
                hold("r1", "u1", 2),
                moved(5, 0, &["r0"]),
                hold("r1", "u1", 4),
                Op::Audit,
            ],
        ),
        (
            "S2: stock is a state, and an older one comes too late",
            vec![
                moved(9, 2, &[]),
                moved(9, 0, &[]),
                moved(7, 0, &[]),
                moved(7, -1, &[]),
                hold("r0", "u0", 4),
                Op::Audit,
            ],
        ),
        (
            "several are taken out in one call, and only those that stand",
            vec![
                grab("r0", 1),
                grab("r1", 2),
                grab("r2", 1),
                abort("r2"),
                moved(3, 1, &["r0", "r1", "r2", "r3"]),
                Op::Audit,
                ended(),
            ],
        ),
        (
            "G1: what buyers gave back is a state that only grows",
            vec![
                rebuild(|with| (with.sold, with.staged) = (4, vec![("u0", 4, 0)])),
                hold("r0", "u0", 1),
                given_back(1, &[("u0", 2), ("u1", 1)]),
                hold("r0", "u0", 2),
                given_back(0, &[("u0", 2)]),
                given_back(0, &[("u0", 1)]),
                hold("r0", "u0", 3),
                given_back(0, &[("u0", 3)]),
                hold("r0", "u0", 3),
                Op::Audit,
            ],
        ),
        (
            "stock and returns come with what was taken out, in one call",
            vec![
                grab("r0", 2),
                Op::ApplyStock {
                    stocked: 5,
                    returned: 1,
                    ver: 2,
                    taken: vec!["r0"],
                    backs: vec![("u0", 1)],
                },
                Op::Audit,
            ],
        ),
        (
            "a rebuild knows what the owner takes out, and what they took",
            vec![
                grab("r0", 1),
                grab("r1", 2),
                Op::Pass(1_000),
                rebuild(|with| {
                    (with.stocked, with.ver, with.decided) = (4, 1, vec![("r1", "OUT")]);
                }),
                moved(4, 0, &["r1"]),
                Op::Audit,
                abort("r0"),
                hold("r2", "u0", 4),
                Op::Lose(Loss::Everything),
                rebuild(|with| (with.stocked, with.ver) = (4, 2)),
                moved(4, -1, &["r0"]),
                grab("r0", 4),
            ],
        ),
    ]
}

fn belating() -> Vec<Scenario> {
    let capped = |cap: i64| rebuild(move |with| (with.cap, with.terms) = (cap, 1));
    vec![
        (
            "late money takes what is neither held nor sold, and is sold like any other",
            vec![
                hold("r0", "u0", 2),
                hold("r1", "u1", 1),
                sell("r1", 1),
                belated("r2", "u0", 4),
                belated("r2", "u0", 3),
                Op::Find { user: "u0" },
                hold("r3", "u2", 1),
                sell("r2", 3),
                Op::Find { user: "u0" },
                Op::Read(vec!["r0", "r2"]),
                belated("r2", "u0", 3),
                Op::Audit,
                ended(),
            ],
        ),
        (
            "late money is no reason to leave due holds standing, and joins its own pin",
            vec![
                hold_for("r0", "u0", 4, MINUTE),
                hold("r1", "u1", 2),
                belated("r2", "u2", 1),
                Op::Pass(MINUTE),
                belated("r2", "u2", 4),
                Op::Late { rid: "r2", user: "u2", token: 'b', qty: 1 },
                Op::Pass(2 * DEFAULT_TTL),
                expire(),
                Op::ClaimPins { grace: MINUTE, most: 9 },
                abort("r2"),
                belated("r2", "u2", 4),
                Op::Audit,
            ],
        ),
        (
            "late money counts in the cap with what is held and bought, and without what came back",
            vec![
                capped(3),
                hold("r0", "u0", 1),
                belated("r1", "u0", 3),
                belated("r1", "u0", 2),
                hold("r2", "u1", 1),
                hold("r0", "u0", 2),
                sell("r1", 2),
                belated("r3", "u0", 1),
                cancel("r0", "u0"),
                belated("r3", "u0", 2),
                given_back(1, &[("u0", 1)]),
                belated("r3", "u0", 2),
                Op::Audit,
            ],
        ),
        (
            "a debt of stock leaves nothing to late money, and a rebuild keeps its pins",
            vec![
                capped(0),
                hold("r0", "u0", 4),
                moved(2, 1, &[]),
                belated("r1", "u1", 1),
                abort("r0"),
                moved(6, 0, &[]),
                belated("r1", "u1", 2),
                rebuild(|with| (with.stocked, with.ver) = (6, 2)),
                Op::Audit,
                Op::Find { user: "u1" },
                Op::Lose(Loss::Ready),
                belated("r2", "u1", 1),
            ],
        ),
    ]
}
