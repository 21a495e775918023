//! `holdfast migrate`: brings the schema up to this binary.

use std::io::Write;

use crate::config::Settings;
use crate::platform::postgres;

/// Applies what is missing and says what it was.
pub async fn run(settings: Settings, out: &mut impl Write) -> anyhow::Result<()> {
    let migrated = postgres::migrate(&settings.database).await?;
    for name in &migrated.applied {
        writeln!(out, "applied {name}")?;
    }
    if migrated.applied.is_empty() {
        writeln!(out, "the schema is up to date")?;
    }
    Ok(())
}
