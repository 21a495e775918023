//! What every script owes to the server and to its reader: flags, header, declared keys, work on a full Redis.

use std::collections::{BTreeMap, BTreeSet};

use holdfast::platform::lua;
use xtask::servers::{Redis, RedisOptions};

use crate::scripts_bench::{self, Bench, Scripts};
use crate::scripts_model::{Model, Op};
use crate::scripts_properties::{check, opening, perform};
use crate::scripts_scenarios::scenarios;

const READERS: [&str; 7] = ["audit", "ended", "find", "holds", "pinned", "read", "weigh"];
/// These take memory, so a full Redis refuses them.
const TAKERS: [&str; 7] = ["arm", "extend", "extend_all", "grab", "late", "reserve", "retime"];
/// These may have more than sixty lines, and say why.
const LONG: [&str; 2] = ["rebuild", "reserve"];

fn header(name: &str) -> Vec<String> {
    let text = scripts_bench::file(name);
    let lines = text.lines().skip(1).take_while(|line| line.starts_with("--"));
    lines.map(str::to_owned).collect()
}

#[test]
fn every_file_is_a_script_that_the_service_has() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/lua");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let files = files.filter(|path| path.extension().is_some_and(|extension| extension == "lua"));
    let files: BTreeSet<String> =
        files.map(|path| path.file_stem().unwrap().to_string_lossy().into_owned()).collect();
    let scripts = lua::all().into_iter().map(|script| script.name.to_owned());
    assert_eq!(files, scripts.chain(["record".to_owned()]).collect());
}

#[test]
fn every_script_has_its_flags() {
    for script in lua::all() {
        let flags = match script.name {
            name if READERS.contains(&name) => "#!lua flags=no-writes",
            name if TAKERS.contains(&name) => "#!lua",
            _ => "#!lua flags=allow-oom",
        };
        assert_eq!(script.source().lines().next(), Some(flags), "{}", script.name);
    }
}

#[test]
fn every_script_has_a_header_and_is_short() {
    for script in lua::all() {
        let (name, header) = (script.name, header(script.name));
        for word in ["KEYS ", "ARGV ", "Reply ", "Cost "] {
            let told = header.iter().any(|line| line.contains(word));
            assert!(told, "{name}: no {word}");
        }
        let lines = scripts_bench::file(name).lines().count() - 1 - header.len();
        let excused = header.iter().any(|line| line.starts_with("-- Long, because"));
        assert_eq!(excused, LONG.contains(&name), "{name}");
        assert!(lines <= 60 || excused, "{name} has {lines} lines");
    }
}

#[test]
fn scripts_touch_only_the_keys_they_are_given() {
    let names = [
        "S",
        "H",
        "D",
        "P",
        "G",
        "B",
        "BN",
        "X",
        "NEWS",
        "key",
        "index",
        "timer",
        "unpack(churn_keys",
        "unpack(timers",
    ];
    for script in lua::all() {
        for call in script.source().split("redis.call(").skip(1) {
            let arguments = call.split(')').next().unwrap_or_default();
            let Some(key) = arguments.split(", ").nth(1) else {
                assert_eq!(arguments, "'TIME'", "{}", script.name);
                continue;
            };
            let declared = names.contains(&key) || key.starts_with("KEYS[");
            assert!(declared, "{}: {arguments}", script.name);
        }
    }
}

/// Numbers that follow a brace or a bar: the statuses that a header lists, or those of a reply.
fn statuses(text: &str) -> BTreeSet<u32> {
    let after = text.split(['{', '|']).skip(1).map(str::trim_start);
    let digits = after.map(|rest| rest.split(|c: char| !c.is_ascii_digit()).next());
    digits.filter_map(|digits| digits?.parse().ok()).collect()
}

#[test]
fn the_stories_hear_every_reply_that_the_headers_list() {
    let mut heard: BTreeMap<&str, BTreeSet<u32>> = BTreeMap::new();
    for (_, ops) in scenarios() {
        let mut model = Model::new(1_800_000_000_000);
        model.apply(&Op::Rebuild(opening()));
        for op in &ops {
            let reply = model.apply(op);
            if let Some(script) = op.script() {
                heard.entry(script).or_default().extend(statuses(&reply));
            }
        }
    }
    for (script, heard) in heard {
        let header = header(script).join(" ");
        let told = header.split("Reply").nth(1).unwrap().replace("{REBUILD}", "{100}");
        let told = told.split("--").take_while(|line| line.contains(['{', '|']));
        let mut told = statuses(&told.collect::<String>());
        if script == "rebuild" {
            told.remove(&100);
        }
        assert_eq!(heard, told, "{script}");
    }
}

#[test]
fn scripts_take_the_time_from_the_server() {
    let mut bench = Bench::new(&Scripts::real());
    open(&mut bench);
    let mut server = || {
        let time: Vec<i64> = redis::from_redis_value(bench.run(&["TIME"])).unwrap();
        time[0] * 1_000 + time[1] / 1_000
    };
    let before = server();
    let after = server();
    let reply = bench.call("expire", &[], &[1]).unwrap();
    let now: i64 = reply.trim_end_matches('}').rsplit(' ').next().unwrap().parse().unwrap();
    assert!(before <= after && after <= now && now < before + 60_000, "{before} {after} {now}");
}

/// Makes a SKU of six units from whatever there is.
fn open(bench: &mut Bench) -> String {
    let arguments = ["1", "6", "0", "0", "1", "0", "0", "0", "0", "open", "1", "0", "0"];
    assert_eq!(bench.call("claim", &[], &[1]).unwrap(), "{0}");
    bench.call("rebuild", &[("bn", String::new())], &arguments).unwrap()
}

#[test]
fn a_stock_key_of_another_type_is_an_error_until_it_is_rebuilt() {
    let mut bench = Bench::new(&Scripts::real());
    let stock = bench.key("s", "");
    bench.run(&["LPUSH", &stock, "what"]);
    let before = bench.raw();
    let error = bench.call::<i64>("audit", &[], &[]).unwrap_err();
    assert!(error.contains("WRONGTYPE"), "{error}");
    assert_eq!(bench.raw(), before);
    assert_eq!(open(&mut bench), "{0 0 0 0}");
}

#[test]
fn stock_whose_newer_version_cannot_be_read_comes_from_postgres() {
    for (field, value) in [("stocked", "what"), ("returned", "-"), ("stocked", "")] {
        let mut bench = Bench::new(&Scripts::real());
        let stock = bench.key("s", "");
        bench.run(&["HSET", &stock, "ver", "99", "stocked", "50", "returned", "0", field, value]);
        assert_eq!(open(&mut bench), "{0 0 0 0}");
        let dump = bench.dump();
        assert_eq!((&*dump["s stocked"], &*dump["s avail"], &*dump["s ver"]), ("6", "6", "1"));
    }
}

#[test]
fn a_full_redis_refuses_new_holds_whole_and_does_everything_else() {
    let server = Redis::start(RedisOptions::default()).unwrap();
    let mut bench = Bench::on(&server.url(), &Scripts::on_bench_time());
    for (name, ops) in scenarios() {
        let mut model = Model::new(1_800_000_000_000);
        bench.clear();
        bench.set_time(model.now);
        bench.full(true);
        check(&mut bench, &mut model, &Op::Rebuild(opening())).unwrap();
        for op in ops {
            let refused = op.script().is_some_and(|script| TAKERS.contains(&script));
            if refused {
                let before = bench.raw();
                let error = perform(&mut bench, &model, &op).unwrap_err();
                assert!(error.contains("OOM"), "{name}: {op:?}: {error}");
                assert_eq!(bench.raw(), before, "{name}: {op:?}");
            }
            bench.full(!refused);
            check(&mut bench, &mut model, &op).unwrap_or_else(|error| panic!("{name}: {error}"));
            bench.full(true);
        }
    }
}
