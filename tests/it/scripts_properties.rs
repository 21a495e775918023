//! Random calls of the scripts, late, doubled and out of order, on a Redis that loses things: every reply and every key
//! must be what the model says.

use std::collections::BTreeSet;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use proptest::test_runner::{Config, TestRunner};

use crate::scripts_bench::{Bench, Dump, RIDS, Scripts, USERS};
use crate::scripts_model::{
    DEFAULT_TTL, Loss, Model, Op, Rebuild, SHORT_TTL, Want, email, only, secret,
};

/// The bench's first moment.
const NOW: i64 = 1_800_000_000_000;

/// Plays these calls with real scripts and with the model, from an opened SKU of six units; the first difference is an
/// error.
pub fn conform(scripts: &Scripts, ops: &[Op]) -> Result<(), String> {
    let mut bench = Bench::new(scripts);
    let mut model = Model::new(NOW);
    bench.set_time(NOW);
    let open = Op::Rebuild(opening());
    for (step, op) in std::iter::once(&open).chain(ops).enumerate() {
        check(&mut bench, &mut model, op)
            .map_err(|error| format!("step {step}, {op:?}: {error}"))?;
    }
    Ok(())
}

/// The rebuild that opens a SKU: six units, a cap of four.
pub fn opening() -> Rebuild {
    Rebuild {
        claims: true,
        missing: 0,
        epoch: 1,
        stocked: 6,
        sold: 0,
        returned: 0,
        ver: 1,
        ttl: 0,
        cap: 4,
        opens_in: 0,
        closes_in: 0,
        sale: "open",
        terms: 1,
        decided: Vec::new(),
        pending: Vec::new(),
        staged: Vec::new(),
    }
}

/// Makes one call on both; the first difference in its reply or in the keys is an error.
pub fn check(bench: &mut Bench, model: &mut Model, op: &Op) -> Result<(), String> {
    let before = (!model.open).then(|| bench.raw());
    let found = perform(bench, model, op)?;
    let wanted = model.apply(op);
    if found != wanted {
        return Err(format!("the reply is {found}, not {wanted}"));
    }
    if model.open {
        let dump = bench.dump();
        model.adopt_slots(&dump);
        return same(&dump, &model.dump());
    }
    match op {
        Op::Lose(_) | Op::Claim(_) | Op::Rebuild(_) => Ok(()),
        // A closed SKU is touched by nothing but its rebuild, and by whoever broke it.
        _ if before.as_ref() == Some(&bench.raw()) => Ok(()),
        _ => Err("a closed SKU was changed".to_owned()),
    }
}

fn same(found: &Dump, wanted: &Dump) -> Result<(), String> {
    let names: std::collections::BTreeSet<_> = found.keys().chain(wanted.keys()).collect();
    let differing = names.into_iter().filter(|name| found.get(*name) != wanted.get(*name));
    let differences: Vec<_> = differing
        .map(|name| format!("{name}: {:?}, not {:?}", found.get(name), wanted.get(name)))
        .collect();
    if differences.is_empty() { Ok(()) } else { Err(differences.join("; ")) }
}

/// Makes the call (or the mishap) on the real thing.
pub fn perform(bench: &mut Bench, model: &Model, op: &Op) -> Result<String, String> {
    perform_for(bench, model, op, false)
}

/// The same, perhaps while somebody wants to hear of holds.
fn perform_for(bench: &mut Bench, model: &Model, op: &Op, heard: bool) -> Result<String, String> {
    let now = model.now;
    let news = || heard.then(|| ("n", String::new()));
    let timer = |rid: &str| ("t", format!(":{rid}"));
    let churn = |user: &str| ("c", format!(":{user}"));
    macro_rules! call {
        ($name:literal, [$($key:expr),*] $(, $argument:expr)*) => {
            bench.call($name, &[$($key),*], &[$($argument.to_string()),*] as &[String])
        };
    }
    match op {
        Op::Heard(op) => perform_for(bench, model, op, true),
        Op::Reserve { tolerance, wants } => {
            let keys = wants.iter().flat_map(|want| [timer(want.rid), churn(want.user)]);
            let keys = keys.chain(news());
            let ids: BTreeSet<&str> = wants.iter().map(|want| want.rid).collect();
            let again = ids.len() < wants.len() || ids.iter().any(|rid| model.knows(rid));
            let again = i32::from(again).to_string();
            let mut arguments = vec![DEFAULT_TTL.to_string(), tolerance.to_string(), again];
            for want in wants {
                let short = if want.lines == "-" { 0 } else { SHORT_TTL };
                arguments.extend([
                    want.rid.to_owned(),
                    secret(want.rid, want.token),
                    want.user.to_owned(),
                    format!(
                        "{} {} {} {short} {}",
                        want.qty,
                        want.ttl,
                        want.lines,
                        email(want.user)
                    ),
                ]);
            }
            bench.call("reserve", &keys.collect::<Vec<_>>(), &arguments)
        }
        Op::Arm { rid, ms } => {
            let keys: Vec<_> = std::iter::once(timer(rid)).chain(news()).collect();
            bench.call("arm", &keys, &[(*rid).to_owned(), (now + ms).to_string()])
        }
        Op::Pin { .. } | Op::Settle { .. } => {
            let batch = Op::Batch(vec![op.clone()]);
            perform(bench, model, &batch).map(|reply| only(&batch, &reply))
        }
        Op::Batch(ops) => {
            let (mut keys, mut arguments) = (Vec::new(), Vec::new());
            for op in ops {
                match op {
                    Op::Pin { rid, user, expected } => {
                        keys.push(timer(rid));
                        arguments.extend([
                            (*rid).to_owned(),
                            (*user).to_owned(),
                            expected.to_string(),
                        ]);
                    }
                    Op::Settle { rid, confirmed, token, qty } => arguments.extend([
                        (*rid).to_owned(),
                        if *confirmed { "CONFIRMED" } else { "ABORTED" }.to_owned(),
                        secret(rid, *token),
                        qty.to_string(),
                        "told".to_owned(),
                        "tester".to_owned(),
                    ]),
                    other => unreachable!("{other:?} has no batches"),
                }
            }
            bench.call(op.script().unwrap(), &keys, &arguments)
        }
        Op::Grab { rid, token, qty } => call!("grab", [], rid, secret(rid, *token), qty),
        Op::Late { rid, user, token, qty } => {
            call!("late", [], rid, secret(rid, *token), user, qty)
        }
        Op::ApplyStock { stocked, returned, ver, taken, backs } => {
            let stock = [*stocked, *returned, model.ver + ver, taken.len() as i64];
            let backs =
                backs.iter().flat_map(|(user, back)| [(*user).to_owned(), back.to_string()]);
            let taken = taken.iter().map(|rid| (*rid).to_owned());
            let stock = stock.map(|number| number.to_string()).into_iter();
            bench.call("apply_stock", &[], &stock.chain(taken).chain(backs).collect::<Vec<_>>())
        }
        Op::Cancel { rid, user, interval } => {
            let keys = [timer(rid), churn(user)];
            call!(
                "cancel",
                [keys[0].clone(), keys[1].clone()],
                rid,
                user,
                "customer",
                "changed_mind",
                interval
            )
        }
        Op::Extend { rid, user, count, ms } => {
            let keys: Vec<_> = std::iter::once(timer(rid)).chain(news()).collect();
            let (count, deadline) = (count.to_string(), (now + ms).to_string());
            bench.call("extend", &keys, &[(*rid).to_owned(), (*user).to_owned(), count, deadline])
        }
        Op::Retime { rids, ttl, life } => {
            let keys: Vec<_> = rids.iter().map(|rid| timer(rid)).chain(news()).collect();
            let arguments = [ttl.to_string(), life.to_string()].into_iter();
            let arguments: Vec<_> =
                arguments.chain(rids.iter().map(|rid| (*rid).to_owned())).collect();
            bench.call("retime", &keys, &arguments)
        }
        Op::Pinned { most } => call!("pinned", [], most),
        Op::Weigh { most } => call!("weigh", [], most, most),
        Op::Expire { most } => call!("expire", [], most),
        Op::ClaimPins { grace, most } => call!("claim_pins", [], grace, most),
        Op::Ended { age, most } => call!("ended", [], age, most),
        Op::Forget(rids) => bench.call("forget", &[], rids),
        Op::Find { user } => call!("find", [], user),
        Op::Read(rids) => bench.call("read", &[], rids),
        Op::Audit => call!("audit", []),
        Op::Terms { idle, with } => {
            let ((_, _, terms), (opens_at, closes_at)) = (model.after(with), with.window(now));
            let Rebuild { ttl, cap, sale, .. } = with;
            call!("terms", [], ttl, cap, opens_at, closes_at, sale, terms, i32::from(*idle))
        }
        Op::Claim(later) => call!("claim", [], model.epoch + later),
        Op::Rebuild(with) if with.claims => {
            let claimed = call!("claim", [], model.after(with).0)?;
            Ok(format!("{claimed} {}", rebuild(bench, model, with)?))
        }
        Op::Rebuild(with) => rebuild(bench, model, with),
        Op::Pass(ms) => {
            bench.set_time(now + ms);
            Ok(String::new())
        }
        Op::Plant { .. } => {
            let mut planted = model.clone();
            planted.apply(op);
            if model.open {
                bench.load(&planted.dump());
            }
            Ok(String::new())
        }
        Op::Lose(loss) => {
            lose(bench, *loss);
            Ok(String::new())
        }
    }
}

fn rebuild(bench: &mut Bench, model: &Model, with: &Rebuild) -> Result<String, String> {
    let staged = bench.key("bn", "");
    bench.run(&["DEL", &staged]);
    if !with.staged.is_empty() {
        let buyers = with.staged.iter();
        let buyers = buyers
            .flat_map(|(user, bought, back)| [(*user).to_owned(), format!("{bought} {back}")]);
        let arguments: Vec<_> = std::iter::once("120".to_owned()).chain(buyers).collect();
        let reply = bench.call("stage", &[("bn", String::new())], &arguments)?;
        if reply != "{0}" {
            return Err(format!("the buyers were staged with {reply}"));
        }
    }
    let (epoch, ver, terms) = model.after(with);
    let (opens_at, closes_at) = with.window(model.now);
    let mut arguments: Vec<String> = [
        epoch,
        with.stocked,
        with.sold,
        with.returned,
        ver,
        with.ttl,
        with.cap,
        opens_at,
        closes_at,
    ]
    .map(|number| number.to_string())
    .to_vec();
    let staged_buyers = with.staged.len() + with.missing;
    arguments.extend([with.sale.to_owned(), terms.to_string(), staged_buyers.to_string()]);
    arguments.push(with.decided.len().to_string());
    for (rid, outcome) in &with.decided {
        arguments.extend([(*rid).to_owned(), (*outcome).to_owned()]);
    }
    for (rid, token, qty, user) in &with.pending {
        arguments.extend([(*rid).to_owned(), secret(rid, *token), qty.to_string()]);
        arguments.extend([(*user).to_owned(), "-".to_owned()]);
    }
    let reply = bench.call("rebuild", &[("bn", String::new())], &arguments)?;
    if reply == "{1}" {
        // Whoever is overtaken leaves its own key to lapse.
        bench.run(&["DEL", &staged]);
    }
    Ok(reply)
}

fn lose(bench: &mut Bench, loss: Loss) {
    let [s, h, d, p, g, b] = ["s", "h", "d", "p", "g", "b"].map(|kind| bench.key(kind, ""));
    bench.run(&["HDEL", &s, "ready"]);
    match loss {
        Loss::Ready => {}
        Loss::Stock => drop(bench.run(&["DEL", &s])),
        Loss::Indexes => drop(bench.run(&["DEL", &d, &p, &g])),
        Loss::Buyers => drop(bench.run(&["DEL", &b])),
        Loss::Records => drop(bench.run(&["DEL", &h])),
        Loss::Everything => bench.clear(),
        Loss::Garbage => {
            bench.run(&["DEL", &d, &g, &b]);
            bench.run(&["LPUSH", &d, "x"]);
            bench.run(&["HSET", &g, "x", "y"]);
            bench.run(&["ZADD", &b, "1", "x"]);
            for (rid, record) in UNREADABLE {
                bench.run(&["HSET", &h, rid, record]);
            }
        }
    }
}

/// Records that would give units away that nobody holds, or that nobody can read.
const UNREADABLE: [(&str, &str); 12] = [
    ("r6", "H n -5 t 9900000000000 1 0 0 - u0 -"),
    ("r7", "X n 1 t 9900000000000 1 0 0 - u0 -"),
    ("r8", "H n 0 t 9900000000000 1 0 0 - u0 -"),
    ("r9", "H n 1 t 9900000000000 nan 0 0 - u0 -"),
    ("0192aaaa-0000-8000-8000-100000000000", "H n 1 t 9900000000000 1 0 0"),
    ("0192aaaa-0000-8000-8000-200000000000", "HP n 1 t 9900000000000 1 0 0 - u0 -"),
    ("0192aaaa-0000-8000-8000-300000000000", "H n 1000000000000000 t 9900000000000 1 0 0 - u0 -"),
    ("0192aaaa-0000-8000-8000-400000000000", "H n 1 t -9900000000000 1 0 0 - u0 -"),
    ("0192aaaa-0000-8000-8000-500000000000", "H n 1 t 9900000000000 1 nan 0.5 - u0 -"),
    ("1-1-8-8-1", "H n 1 t 9900000000000 1 0 0 - u0 -"),
    ("somebody-typed-this-into-redis-by-me", "H n 1 t 9900000000000 1 0 0 - u0 -"),
    ("", ""),
];

fn rid() -> impl Strategy<Value = &'static str> {
    select(&RIDS[..])
}

fn user() -> impl Strategy<Value = &'static str> {
    select(&USERS[..])
}

fn token() -> impl Strategy<Value = char> {
    prop_oneof![4 => Just('a'), 1 => Just('b')]
}

fn want() -> impl Strategy<Value = Want> {
    let ttl = prop_oneof![6 => Just(0), 2 => Just(300_000), 1 => Just(DEFAULT_TTL + 1)];
    let lines = prop_oneof![6 => Just("-"), 1 => Just("@"), 1 => Just("X,Y")];
    (rid(), token(), user(), 1..5_i64, ttl, lines)
        .prop_map(|(rid, token, user, qty, ttl, lines)| Want { rid, token, user, qty, ttl, lines })
}

fn a_rebuild() -> impl Strategy<Value = Rebuild> {
    let stock = (0..3_i64, 2..9_i64, 0..3_i64, 0..2_i64, -1..3_i64);
    let sale = prop_oneof![8 => Just("open"), 1 => Just("paused"), 1 => Just("closed"), 1 => Just("hidden")];
    let soon = || prop_oneof![8 => Just(0), 1 => Just(50_000), 1 => Just(-50_000_i64)];
    let terms =
        (select(vec![0, 300_000_i64]), select(vec![0, 3, 5_i64]), soon(), soon(), sale, -1..3_i64);
    let rids = subsequence(RIDS.to_vec(), 0..4).prop_shuffle();
    let rows = vec((any::<bool>(), token(), 1..4_i64, user()), 4);
    let staged = (subsequence(USERS.to_vec(), 0..=3), vec((1..4_i64, 0..4_i64), 3));
    let whole =
        (prop_oneof![9 => Just(true), 1 => Just(false)], prop_oneof![9 => Just(0), 1 => Just(1)]);
    (stock, terms, rids, rows, staged, whole).prop_map(
        |(stock, terms, rids, rows, (users, bought), (claims, missing))| {
            let (epoch, stocked, sold, returned, ver) = stock;
            let (ttl, cap, opens_in, closes_in, sale, terms) = terms;
            let outcomes = ["CONFIRMED", "ABORTED", "OUT"];
            let listed = || rids.iter().zip(&rows).enumerate();
            let decided = listed().filter(|(_, (_, row))| row.0);
            let pending = listed().filter(|(_, (_, row))| !row.0);
            Rebuild {
                claims,
                missing,
                epoch,
                stocked,
                sold,
                returned,
                ver,
                ttl,
                cap,
                opens_in,
                closes_in,
                sale,
                terms,
                decided: decided.map(|(at, (rid, _))| (*rid, outcomes[at % 3])).collect(),
                pending: pending.map(|(_, (rid, row))| (*rid, row.1, row.2, row.3)).collect(),
                staged: users
                    .iter()
                    .zip(bought)
                    .map(|(user, (b, back))| (*user, b, back.min(b)))
                    .collect(),
            }
        },
    )
}

fn op() -> impl Strategy<Value = Op> {
    let reserve = (select(vec![0, 60_000_i64]), vec(want(), 1..4));
    let pin =
        (rid(), user(), 0..4_i64).prop_map(|(rid, user, expected)| Op::Pin { rid, user, expected });
    let settle = (rid(), any::<bool>(), token(), 1..4_i64)
        .prop_map(|(rid, confirmed, token, qty)| Op::Settle { rid, confirmed, token, qty });
    let applied = (2..9_i64, 0..3_i64, -1..3_i64);
    let applied = (applied, vec(rid(), 0..3), vec((user(), 0..4_i64), 0..3));
    let applied = applied.prop_map(|((stocked, returned, ver), taken, backs)| Op::ApplyStock {
        stocked,
        returned,
        ver,
        taken,
        backs,
    });
    let loss = select(vec![
        Loss::Ready,
        Loss::Stock,
        Loss::Indexes,
        Loss::Buyers,
        Loss::Records,
        Loss::Everything,
        Loss::Garbage,
    ]);
    let passing = select(vec![1_000, 60_000, SHORT_TTL, 300_000, DEFAULT_TTL]);
    let rids = || vec(rid(), 1..4);
    let heard = (select(vec![0, 60_000_i64]), vec(want(), 1..4));
    prop_oneof![
        12 => reserve.prop_map(|(tolerance, wants)| Op::Reserve { tolerance, wants }),
        4 => heard.prop_map(|(tolerance, wants)| Op::Heard(Box::new(Op::Reserve { tolerance, wants }))),
        3 => (rid(), select(vec![-1, 0, 400_000_i64])).prop_map(|(rid, ms)| Op::Arm { rid, ms }),
        9 => vec(pin, 1..4).prop_map(Op::Batch),
        8 => vec(settle, 1..4).prop_map(Op::Batch),
        6 => (rid(), user(), select(vec![0, 60_000, 120_000_i64]))
            .prop_map(|(rid, user, interval)| Op::Cancel { rid, user, interval }),
        4 => (rid(), user(), 0..3_i64, select(vec![1_000, 900_000_i64]))
            .prop_map(|(rid, user, count, ms)| Op::Extend { rid, user, count, ms }),
        3 => (rids(), select(vec![60_000, 900_000_i64]), select(vec![60_000, 1_800_000_i64]))
            .prop_map(|(rids, ttl, life)| Op::Retime { rids, ttl, life }),
        1 => Just(Op::Weigh { most: 99 }),
        1 => Just(Op::Pinned { most: 99 }),
        3 => (rid(), token(), 1..4_i64).prop_map(|(rid, token, qty)| Op::Grab { rid, token, qty }),
        3 => (rid(), user(), token(), 1..4_i64)
            .prop_map(|(rid, user, token, qty)| Op::Late { rid, user, token, qty }),
        4 => applied,
        3 => (1..4_usize).prop_map(|most| Op::Expire { most }),
        2 => (select(vec![0, 60_000_i64]), 1..4_usize).prop_map(|(grace, most)| Op::ClaimPins { grace, most }),
        1 => (select(vec![0, 60_000_i64]), 1..4_usize).prop_map(|(age, most)| Op::Ended { age, most }),
        3 => rids().prop_map(Op::Forget),
        1 => user().prop_map(|user| Op::Find { user }),
        1 => rids().prop_map(Op::Read),
        1 => Just(Op::Audit),
        1 => (0..3_i64).prop_map(Op::Claim),
        4 => (any::<bool>(), a_rebuild()).prop_map(|(idle, with)| Op::Terms { idle, with }),
        6 => a_rebuild().prop_map(Op::Rebuild),
        5 => passing.prop_map(Op::Pass),
        2 => (rid(), select(vec!['l', 'o']), user(), 1..3_i64)
            .prop_map(|(rid, kind, user, qty)| Op::Plant { rid, kind, user, qty }),
        2 => loss.prop_map(Op::Lose),
    ]
}

#[test]
fn the_scripts_do_what_the_model_does() {
    let scripts = Scripts::on_bench_time();
    let config = Config { cases: 250, failure_persistence: None, ..Config::default() };
    let outcome = TestRunner::new(config)
        .run(&vec(op(), 1..50), |ops| conform(&scripts, &ops).map_err(TestCaseError::fail));
    if let Err(error) = outcome {
        panic!("{error}");
    }
}
