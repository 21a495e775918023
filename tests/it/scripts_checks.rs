//! Checks of scripts whose subject the model does not know: arguments, strays in the indexes, sizes, idempotency keys.

use crate::scripts_bench::{Bench, Scripts};

/// Name, the scripts it runs, and the check.
pub type Further = (&'static str, &'static [&'static str], fn(&Scripts) -> Result<(), String>);

/// How many further keys and how many arguments each script takes at least.
const ARITIES: &[(&str, usize, usize)] = &[
    ("apply_stock", 0, 4),
    ("arm", 1, 2),
    ("audit", 0, 0),
    ("cancel", 2, 5),
    ("claim", 0, 1),
    ("claim_pins", 0, 2),
    ("clock", 0, 3),
    ("close_all", 0, 5),
    ("ended", 0, 2),
    ("expire", 0, 1),
    ("extend", 1, 4),
    ("extend_all", 1, 4),
    ("find", 0, 1),
    ("forget", 0, 1),
    ("grab", 0, 3),
    ("holds", 0, 4),
    ("late", 0, 4),
    ("pin", 1, 3),
    ("pinned", 0, 1),
    ("read", 0, 1),
    ("rebuild", 1, 13),
    ("reserve", 2, 7),
    ("retime", 1, 3),
    ("settle", 0, 6),
    ("stage", 1, 3),
    ("terms", 0, 7),
    ("weigh", 0, 2),
];

pub fn further() -> Vec<Further> {
    let with_arity = &[
        "apply_stock",
        "arm",
        "audit",
        "cancel",
        "claim",
        "claim_pins",
        "clock",
        "close_all",
        "ended",
        "expire",
        "extend",
        "extend_all",
        "find",
        "forget",
        "grab",
        "holds",
        "late",
        "pin",
        "pinned",
        "read",
        "rebuild",
        "reserve",
        "retime",
        "settle",
        "stage",
        "terms",
        "weigh",
    ];
    vec![
        ("calls with too few or too many arguments change nothing", with_arity, arities),
        (
            "a SKU that lacks a counter asks for its rebuild",
            &["audit", "find", "apply_stock"],
            torn,
        ),
        ("a pin has the slot, whichever record comes first", &["rebuild"], slots),
        ("strays in the indexes are dropped", &["expire", "claim_pins"], strays),
        ("what was made up or taken away by hand is weighed", &["weigh"], weighing),
        ("a rebuild takes any number of records and buyers", &["rebuild"], many),
        ("staged buyers come in any number, and lapse", &["stage"], staging),
        ("an idempotency key belongs to one request and one run", &["idempotency"], idempotency),
        ("so many may come at once, and then at the agreed rate", &["limit"], limit),
    ]
}

pub fn expect(what: &str, found: Result<String, String>, wanted: &str) -> Result<(), String> {
    match found {
        Ok(found) if found == wanted => Ok(()),
        found => Err(format!("{what}: {found:?} is not {wanted}")),
    }
}

/// A SKU with this much stock, at epoch 1, without a cap, at this time.
pub fn opened(scripts: &Scripts, stocked: usize, now: i64) -> Result<Bench, String> {
    let mut bench = Bench::new(scripts);
    bench.set_time(now);
    open(&mut bench, 1, stocked)?;
    Ok(bench)
}

fn open(bench: &mut Bench, epoch: i64, stocked: usize) -> Result<String, String> {
    reopen(bench, epoch, stocked, 0)
}

fn reopen(bench: &mut Bench, epoch: i64, stocked: usize, staged: usize) -> Result<String, String> {
    bench.call("claim", &[], &[epoch])?;
    let arguments = format!("{epoch} {stocked} 0 0 1 0 0 0 0 open 1 {staged} 0");
    let arguments: Vec<_> = arguments.split(' ').collect();
    bench.call("rebuild", &[("bn", String::new())], &arguments)
}

fn arities(scripts: &Scripts) -> Result<(), String> {
    let mut bench = Bench::new(scripts);
    bench.set_time(1);
    for (script, keys, arguments) in ARITIES {
        // One key more may be the one for news.
        let newsy = ["arm", "extend", "extend_all", "reserve", "retime"].contains(script);
        let most = keys + 6 + usize::from(newsy);
        for (keys, arguments) in [
            (keys + 6, arguments + 1),
            (keys + 5, *arguments),
            (most + 1, *arguments),
            (keys + 6, arguments.wrapping_sub(1)),
        ] {
            let open_ended = matches!(*script, "forget" | "read");
            if arguments > 99 || open_ended && arguments > 1 {
                continue;
            }
            let keys: Vec<_> =
                (0..keys).map(|number| bench.key("k", &format!(":{number}"))).collect();
            let error = bench.call_on(script, &keys, &vec!["0"; arguments]);
            if !error.as_ref().is_err_and(|error| error.contains("arity")) {
                return Err(format!("{script} with {} and {arguments}: {error:?}", keys.len()));
            }
        }
    }
    Ok(())
}

fn torn(scripts: &Scripts) -> Result<(), String> {
    let mut bench = opened(scripts, 5, 1_000)?;
    let stock = bench.key("s", "");
    let mut epoch = 1;
    for field in ["epoch", "avail", "held", "sold", "stocked", "returned", "ver", "ready"] {
        for what in ["DEL", "what"] {
            match what {
                "DEL" => bench.run(&["HDEL", &stock, field]),
                _ if field == "ready" => continue,
                _ => bench.run(&["HSET", &stock, field, what]),
            };
            expect(field, bench.call::<i64>("audit", &[], &[]), "{100}")?;
            if field != "returned" {
                let nothing = bench.call("apply_stock", &[], &[5, 0, 1, 0]);
                expect(field, nothing, "{100}")?;
            }
            if !["stocked", "returned", "ver"].contains(&field) {
                expect(field, bench.call("find", &[], &["u0"]), "{100}")?;
            }
            epoch += 1;
            expect("rebuild", open(&mut bench, epoch, 5), "{0 0 0 0}")?;
        }
    }
    bench.run(&["DEL", &stock]);
    bench.run(&["LPUSH", &stock, "what"]);
    expect("a list", open(&mut bench, 1, 5), "{0 0 0 0}")
}

fn slots(scripts: &Scripts) -> Result<(), String> {
    for states in [["P", "H"], ["H", "P"]] {
        let mut bench = opened(scripts, 5, 1_000)?;
        let h = bench.key("h", "");
        for (rid, state) in ["r0", "r1"].iter().zip(states) {
            bench.run(&["HSET", &h, rid, &format!("{state} n 1 t 9000 1 0 0 - u0 -")]);
        }
        expect("rebuild", open(&mut bench, 2, 5), "{0 2 2 9000}")?;
        let pinned = if states[0] == "P" { "r0" } else { "r1" };
        expect("slot", Ok(bench.dump()["b u0"].clone()), &format!("{pinned} 2 0 0 -"))?;
    }
    Ok(())
}

fn strays(scripts: &Scripts) -> Result<(), String> {
    let mut bench = opened(scripts, 5, 1_000)?;
    let [h, d, p] = ["h", "d", "p"].map(|kind| bench.key(kind, ""));
    let record = "H n 1 t 9000 1 0 0 - u0 -";
    bench.run(&["HSET", &h, "r1", record]);
    bench.run(&["ZADD", &d, "5", "r0", "6", "r1"]);
    bench.run(&["ZADD", &p, "7", "r0", "8", "r1"]);
    expect("expire", bench.call("expire", &[], &[9]), "{0 0 0 0 1000}")?;
    expect("claim_pins", bench.call("claim_pins", &[], &[0, 9]), "{0 1000 0}")?;
    let read = bench.call("read", &[], &["r1"]);
    expect("read", read, &format!("{{0 1000 {record}}}"))
}

fn weighing(scripts: &Scripts) -> Result<(), String> {
    let mut bench = opened(scripts, 9, 1_000)?;
    let [s, h, d, p, g, b] = ["s", "h", "d", "p", "g", "b"].map(|kind| bench.key(kind, ""));
    for (rid, record) in [
        ("r0", "H n 2 t 9000 1 0 0 - u0 -"),
        ("r1", "P n 1 t 9000 1 0 0 - u1 -"),
        ("r2", "P o 3 t 9000 1 0 0 - - -"),
        ("r3", "S n 1 t 9000 1 0 0 - u1 - confirmed 5 x"),
        ("r4", "E n 1 t 9000 1 0 0 - u1 - expired 5 x"),
    ] {
        bench.run(&["HSET", &h, rid, record]);
    }
    bench.run(&["ZADD", &d, "9000", "r0"]);
    bench.run(&["ZADD", &p, "1", "r1", "1", "r2"]);
    bench.run(&["ZADD", &g, "5", "r3", "5", "r4"]);
    bench.run(&["HSET", &b, "u0", "r0 2 0 0 -", "u1", "r1 1 1 0 r4"]);
    bench.run(&["HSET", &s, "held", "6", "sold", "1", "avail", "2"]);
    let weigh = |bench: &mut Bench| bench.call("weigh", &[], &[9, 9]);
    expect("all agrees", weigh(&mut bench), "{0 0 0 0}")?;
    expect("few buyers at most", bench.call("weigh", &[], &[9, 1]), "{0 0 0 0}")?;
    expect("few records at most", bench.call("weigh", &[], &[4, 9]), "{1}")?;
    expect("as many", bench.call("weigh", &[], &[5, 9]), "{0 0 0 0}")?;
    type Broken<'a> = (&'a str, &'a [&'a str], &'a [&'a str], &'a str);
    let broken: [Broken<'_>; 6] = [
        ("held", &["HINCRBY", &s, "held", "2"], &["HINCRBY", &s, "held", "-2"], "{0 2 0 0}"),
        (
            "buyer",
            &["HSET", &b, "u0", "r0 5 0 0 -"],
            &["HSET", &b, "u0", "r0 2 0 0 -"],
            "{0 0 0 3}",
        ),
        ("deadline", &["ZREM", &d, "r0"], &["ZADD", &d, "9000", "r0"], "{0 0 1 0}"),
        ("entry", &["ZADD", &g, "5", "r9"], &["ZREM", &g, "r9"], "{0 0 1 0}"),
        (
            "quantity",
            &["HSET", &h, "r0", "H n 4 t 9000 1 0 0 - u0 -"],
            &["HSET", &h, "r0", "H n 2 t 9000 1 0 0 - u0 -"],
            "{0 -2 0 -2}",
        ),
        (
            "unreadable",
            &["HSET", &h, "r3", "what"],
            &["HSET", &h, "r3", "S n 1 t 9000 1 0 0 - u1 - confirmed 5 x"],
            "{0 0 2 0}",
        ),
    ];
    for (what, breaking, mending, wanted) in broken {
        bench.run(breaking);
        expect(what, weigh(&mut bench), wanted)?;
        bench.run(mending);
        expect(what, weigh(&mut bench), "{0 0 0 0}")?;
    }
    bench.run(&["HDEL", &s, "ready"]);
    expect("closed", weigh(&mut bench), "{100}")
}

/// More than one page of a scan, and more than one call takes.
fn many(scripts: &Scripts) -> Result<(), String> {
    const MANY: usize = 5_000;
    let mut bench = opened(scripts, MANY, 1_000)?;
    let (h, bn) = (bench.key("h", ""), bench.key("bn", ""));
    let mut load = redis::pipe();
    for number in 0..MANY {
        load.hset(
            &h,
            format!("0192aaaa-0000-8000-8000-{number:012}"),
            format!("H n 1 t {} 1 0 0 - u{number} -", 9_000 + number),
        );
        load.hset(&bn, format!("b{number}"), "1 0");
    }
    bench.pipe(&load);
    expect("rebuild", reopen(&mut bench, 2, MANY, MANY), &format!("{{0 {MANY} {MANY} 9000}}"))?;
    let (d, b) = (bench.key("d", ""), bench.key("b", ""));
    let sizes = [bench.run(&["ZCARD", &d]), bench.run(&["HLEN", &b]), bench.run(&["EXISTS", &bn])];
    let sizes = sizes.map(|size| crate::scripts_bench::text(&size)).join(" ");
    expect("sizes", Ok(sizes), &format!("{MANY} {} 0", 2 * MANY))
}

/// Chunks add up, each renews the lifetime, and a buyer who is staged again counts once.
fn staging(scripts: &Scripts) -> Result<(), String> {
    const MANY: usize = 5_000;
    let mut bench = Bench::new(scripts);
    let bn = bench.key("bn", "");
    for (first, lifetime) in [(0, 60), (MANY - 1, 120)] {
        let buyers = (first..first + MANY).flat_map(|at| [format!("b{at}"), format!("{at} 1")]);
        let arguments: Vec<_> = std::iter::once(lifetime.to_string()).chain(buyers).collect();
        expect("stage", bench.call("stage", &[("bn", String::new())], &arguments), "{0}")?;
        let left = crate::scripts_bench::text(&bench.run(&["TTL", &bn]));
        if !left.parse().is_ok_and(|left| (lifetime - 50..=lifetime).contains(&left)) {
            return Err(format!("staged buyers are kept for {left} s, not {lifetime}"));
        }
    }
    let staged = [
        bench.run(&["HLEN", &bn]),
        bench.run(&["HGET", &bn, "b0"]),
        bench.run(&["HGET", &bn, &format!("b{}", 2 * MANY - 2)]),
    ];
    let staged = staged.map(|value| crate::scripts_bench::text(&value)).join(", ");
    expect("staged", Ok(staged), &format!("{}, 0 1, {} 1", 2 * MANY - 1, 2 * MANY - 2))
}

fn idempotency(scripts: &Scripts) -> Result<(), String> {
    let mut bench = Bench::new(scripts);
    let key = [bench.key("t", ":r0")];
    let mut step = |arguments: &str, wanted: &str| {
        let arguments: Vec<_> = arguments.split(' ').collect();
        expect(arguments[0], bench.call_on("idempotency", &key, &arguments), wanted)?;
        let left = crate::scripts_bench::text(&bench.run(&["PTTL", &key[0]]));
        if left == "-1" { Err("it stays for ever".to_owned()) } else { Ok(left) }
    };
    step("keep 00 ff:early 60000", "{0}")?;
    step("claim 00 ff 60000", "{0}")?;
    step("claim m2 ff 60000", "{1}")?;
    step("claim m2 00 60000", "{2}")?;
    step("keep m2 ff:stolen 60000", "{0}")?;
    step("drop m2", "{0}")?;
    step("claim m2 ff 60000", "{1}")?;
    step("drop 00", "{0}")?;
    step("claim m3 ff 60000", "{0}")?;
    step("keep m3 ff:answer 600000", "{0}")?;
    step("claim m4 ff 60000", "{3 answer}")?;
    step("claim m4 00 60000", "{2}")?;
    step("keep m3 ff:other 60000", "{0}")?;
    step("drop m3", "{0}")?;
    step("drop ff", "{0}")?;
    let left = step("claim m4 ff 60000", "{3 answer}")?;
    match left.parse::<i64>() {
        Ok(left) if left > 60_000 => Ok(()),
        _ => Err(format!("the answer is kept for {left} ms")),
    }
}

fn limit(scripts: &Scripts) -> Result<(), String> {
    const NOW: i64 = 1_800_000_000_000;
    let mut bench = Bench::new(scripts);
    let keys = [bench.key("l", ":a"), bench.key("l", ":b")];
    let mut at = |after: i64, keys: &[String], arguments: &str, wanted: &str| {
        // The bench's time stands beside the first key.
        bench.run(&["SET", &format!("{}:now", keys[0]), &(NOW + after).to_string()]);
        let arguments: Vec<_> = arguments.split(' ').filter(|text| !text.is_empty()).collect();
        expect(&format!("at {after}"), bench.call_on("limit", keys, &arguments), wanted)?;
        let left = crate::scripts_bench::text(&bench.run(&["PTTL", &keys[0]]));
        left.parse::<i64>().map_err(|error| error.to_string())
    };
    let one = &keys[..1];
    // Three at once, one more each 100 s: much longer than the check takes, so that no key is gone before its end.
    let rate = "100000000 3";
    let left = at(0, one, rate, "{{1 2 0 100000000}}")?;
    if !(50_000..=100_000).contains(&left) {
        return Err(format!("it is kept for {left} ms"));
    }
    let twice = [keys[0].clone(), keys[0].clone(), keys[1].clone()];
    let rates = format!("{rate} {rate} 5000000 1");
    let wanted = "{{1 1 0 200000000} {1 0 100000000 300000000} {1 0 5000000 5000000}}";
    let left = at(0, &twice, &rates, wanted)?;
    if !(250_000..=300_000).contains(&left) {
        return Err(format!("it is kept for {left} ms"));
    }
    at(0, one, rate, "{{0 0 100000000 300000000}}")?;
    at(99_000, one, rate, "{{0 0 1000000 201000000}}")?;
    at(100_000, one, rate, "{{1 0 100000000 300000000}}")?;
    at(250_000, one, rate, "{{1 0 50000000 250000000}}")?;
    at(9_000_000, one, rate, "{{1 2 0 100000000}}")?;
    for (keys, arguments) in [(&keys[..0], ""), (one, "100000"), (one, "100000 3 100000 3")] {
        let arguments: Vec<_> = arguments.split(' ').filter(|text| !text.is_empty()).collect();
        match bench.call_on("limit", keys, &arguments) {
            Err(error) if error.contains("arity") => {}
            answer => return Err(format!("{arguments:?}: {answer:?}")),
        }
    }
    Ok(())
}
