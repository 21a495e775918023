//! `docker-compose.yml` is YAML, and starts the stores as `cargo xtask` does.

use std::path::Path;

use anyhow::{Context, Result};
use xtask::servers::{INITDB_FLAGS, POSTGRES_FLAGS, REDIS_FLAGS};
use yaml_rust2::{Yaml, YamlLoader};

fn compose() -> Result<Yaml> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docker-compose.yml");
    let text = std::fs::read_to_string(path)?;
    YamlLoader::load_from_str(&text)?.into_iter().next().context("the compose file is empty")
}

fn words(list: &Yaml) -> Result<Vec<String>> {
    let items = list.as_vec().context("not a list")?;
    items.iter().map(|item| Ok(item.as_str().context("not a string")?.to_owned())).collect()
}

#[test]
fn redis_has_the_flags_of_the_private_one() -> Result<()> {
    let flags = REDIS_FLAGS.iter().flat_map(|(name, value)| [format!("--{name}"), (*value).into()]);
    let expected: Vec<String> = ["redis-server".to_owned()].into_iter().chain(flags).collect();
    assert_eq!(words(&compose()?["services"]["redis"]["command"])?, expected);
    Ok(())
}

#[test]
fn postgres_has_the_flags_of_the_private_one() -> Result<()> {
    let compose = compose()?;
    let postgres = &compose["services"]["postgres"];
    let flags = POSTGRES_FLAGS
        .iter()
        .flat_map(|(name, value)| ["-c".to_owned(), format!("{name}={value}")]);
    let expected: Vec<String> = ["postgres".to_owned()].into_iter().chain(flags).collect();
    assert_eq!(words(&postgres["command"])?, expected);
    let made = postgres["environment"]["POSTGRES_INITDB_ARGS"].as_str();
    assert_eq!(made, Some(INITDB_FLAGS.join(" ").as_str()));
    Ok(())
}

#[test]
fn no_secret_has_a_default() -> Result<()> {
    let compose = compose()?;
    let services = compose["services"].as_hash().context("no services")?;
    let mut secrets = 0;
    for (_, service) in services {
        let Some(environment) = service["environment"].as_hash() else {
            continue;
        };
        for (name, value) in environment {
            let name = name.as_str().context("a variable's name is not a string")?;
            if name.contains("SECRET") || name.contains("PASSWORD") {
                let value = value.as_str().context("a secret is not a string")?;
                // Without the keys of a provider of payments that provider is off.
                let demanded = value.contains(":?");
                let given = demanded || value.ends_with(":-}");
                assert!(value.starts_with("${") && given, "{name} has a default");
                secrets += usize::from(demanded);
            }
        }
    }
    assert_eq!(secrets, 2);
    Ok(())
}

#[test]
fn what_is_mounted_is_there_and_what_is_watched_answers() -> Result<()> {
    let compose = compose()?;
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut files = 0;
    for (name, service) in compose["services"].as_hash().context("no services")? {
        let volumes = service["volumes"].as_vec().into_iter().flatten();
        for volume in volumes {
            let volume = volume.as_str().context("a volume is not a string")?;
            let (source, _) = volume.split_once(':').context("a volume without a place")?;
            if source.starts_with("./") {
                assert!(root.join(source).exists(), "{name:?} mounts {source}");
                files += 1;
            } else {
                let known = compose["volumes"].as_hash().context("no volumes")?;
                assert!(
                    known.contains_key(&Yaml::String(source.into())),
                    "{source} is not declared"
                );
            }
        }
    }
    assert_eq!(files, 3);
    let bind = compose["services"]["holdfast"]["environment"]["HOLDFAST__SERVER__MANAGEMENT_BIND"]
        .as_str();
    let port = bind.and_then(|bind| bind.rsplit_once(':')).context("no management port")?.1;
    let watch = std::fs::read_to_string(root.join("ops/prometheus/prometheus.yml"))?;
    assert!(watch.contains(&format!("[\"holdfast:{port}\"]")), "{watch}");
    Ok(())
}

#[test]
fn whoever_only_wants_the_service_gets_no_more() -> Result<()> {
    let compose = compose()?;
    for name in ["prometheus", "grafana"] {
        assert_eq!(words(&compose["services"][name]["profiles"])?, ["observability"], "{name}");
    }
    for name in ["redis", "postgres", "holdfast"] {
        assert!(compose["services"][name]["profiles"].is_badvalue(), "{name}");
    }
    Ok(())
}
